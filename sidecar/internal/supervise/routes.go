package supervise

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"

	"sluice/sidecar/internal/webhook"
	"sluice/sidecar/routes"
)

// routesEvery is how often ROUTES_FILE is read for changes, as the app reads its
// hooks file. Polling works on every mounted file.
const routesEvery = 2 * time.Second

// useRoutes puts routes in force for replay. ingress has its own.
func (r *Replica) useRoutes(list []routes.Route) {
	resigns := resigners(r.cfg, list)
	r.routes.Store(&list)
	r.resigns.Store(&resigns)
}

// freshen returns what signs a held webhook of that source anew, nil for nothing.
func (r *Replica) freshen(source string) func(*webhook.Webhook) { return (*r.resigns.Load())[source] }

// routesLoop reads ROUTES_FILE again when it has changed, and at SIGHUP even if it
// has not, since a file with a secret may have.
func (r *Replica) routesLoop(ctx context.Context) {
	if r.cfg.RoutesFile == "" {
		return
	}
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	seen := r.cfg.RoutesSum // of the text last read, valid or not
	for {
		asked := false
		select {
		case <-ctx.Done():
			return
		case <-hangup:
			asked = true
		case <-time.After(routesEvery):
		}
		sum, err := r.cfg.SumRoutesFile()
		if err != nil && !asked || sum == seen && !asked {
			continue // the file may be being replaced just now
		}
		seen = sum
		r.reloadRoutes()
	}
}

func (r *Replica) reloadRoutes() {
	list, err := r.cfg.ReadRoutesFile()
	if err != nil {
		r.log.Error("Routes not reloaded, the old ones stay in force", "err", err)
		return
	}
	r.useRoutes(list)
	r.ingress.SetRoutes(list)
	r.log.Info("Routes reloaded", "routes", len(list))
	r.warnMissingSecrets()
}
