package service

import (
	"context"
	"crypto/sha256"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"sluice/app/internal/config"
	"sluice/app/internal/hooks"
	"sluice/sidecar/routes"
)

// pollEvery is how often the files are read for changes. Polling works on every
// mounted file, also where change notifications do not arrive.
const pollEvery = 2 * time.Second

// watch calls reload again and again until ctx ends; then the channel is closed. At
// SIGHUP it asks to reload a file that has not changed, too.
func watch(ctx context.Context, reload func(asked bool)) <-chan struct{} {
	done := make(chan struct{})
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP) // also without a file, because SIGHUP must not end the app
	go func() {
		defer close(done)
		defer signal.Stop(hangup)
		tick := time.NewTicker(pollEvery)
		defer tick.Stop()
		for {
			asked := false
			select {
			case <-ctx.Done():
				return
			case <-hangup:
				asked = true
			case <-tick.C:
			}
			reload(asked)
		}
	}()
	return done
}

// routesFile holds the routes in force, and replaces those of ROUTES_FILE when they
// change.
type routesFile struct {
	c       config.Config
	use     func([]routes.Route)
	log     *slog.Logger
	current []routes.Route
	seen    [sha256.Size]byte // of the text last read, valid or not
}

func newRoutesFile(c config.Config, use func([]routes.Route), log *slog.Logger) *routesFile {
	return &routesFile{c: c, use: use, log: log, current: c.Routes, seen: c.RoutesSum}
}

// warnUnknown logs each hook that no webhook can start, because its route is not there.
func (f *routesFile) warnUnknown(rules *hooks.Rules) {
	for _, h := range rules.All() {
		if h.Route != "*" && !slices.ContainsFunc(f.current, func(r routes.Route) bool { return r.Name == h.Route }) {
			f.log.Warn("Hook names a route that is not there", "hook", h.Name, "route", h.Route)
		}
	}
}

func (f *routesFile) reload(asked bool) (changed bool) {
	if f.c.RoutesFile == "" {
		return false
	}
	text, err := os.ReadFile(f.c.RoutesFile)
	sum := sha256.Sum256(text)
	if !asked && (err != nil || sum == f.seen) {
		return false // the file may be being replaced just now
	}
	f.seen = sum
	list, err := f.c.ReadRoutesFile()
	if err != nil {
		f.log.Error("Routes not reloaded, the old ones stay in force", "err", err)
		return false
	}
	f.use(list)
	f.current = list
	f.log.Info("Routes reloaded", "routes", len(list))
	return true
}
