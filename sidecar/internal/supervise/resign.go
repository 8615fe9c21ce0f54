package supervise

import (
	"time"

	"sluice/sidecar/internal/config"
	"sluice/sidecar/internal/webhook"
	"sluice/sidecar/routes"
	"sluice/sidecar/senders"
)

// resigners returns, for RESIGN=true, the functions that give a held webhook a fresh
// signature, by source. Only senders whose signatures expire have one.
func resigners(cfg *config.Config, list []routes.Route) map[string]func(*webhook.Webhook) {
	if !cfg.Resign {
		return nil
	}
	by := map[string]func(*webhook.Webhook){}
	for _, route := range list {
		s, ok := route.Sender.(senders.Resigner)
		if !ok || len(route.Secrets) == 0 {
			continue
		}
		by[route.Name] = func(w *webhook.Webhook) { resign(s, route.Secrets, w) }
	}
	return by
}

// resign signs with the first secret that the sender can sign with: GitLab, for
// one, has secrets that are no signing keys.
func resign(s senders.Resigner, secrets []string, w *webhook.Webhook) {
	r := senders.Request{Method: w.Head.Method(), URL: w.Head.URL(), Header: w.Head, Body: w.Body}
	for _, secret := range secrets {
		fields := s.Resign(r, secret, time.Now())
		for _, f := range fields {
			w.Head = w.Head.Set(f.Name, f.Value)
		}
		if len(fields) > 0 {
			return
		}
	}
}

// warnMissingSecrets names the routes without a secret: the closed ones, and once
// for each variable those that take anything.
func (r *Replica) warnMissingSecrets() {
	told := map[string]bool{}
	for _, route := range *r.routes.Load() {
		name := route.Sender.Traits().SecretVar
		switch {
		case route.Closed():
			r.log.Error("Route has no secret and is closed, its webhooks get 503", "variable", name, "path", route.Pattern(), "source", route.Name)
		case name != "" && route.Unverified && !told[name]:
			told[name] = true
			r.log.Warn("No secret, signatures of this sender are not checked", "variable", name, "path", route.Path, "source", route.Name)
		}
	}
}
