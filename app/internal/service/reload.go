package service

import (
	"context"
	"crypto/sha256"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"sluice/app/internal/config"
	"sluice/sidecar/routes"
)

// pollEvery is how often the files are read for changes. Polling works on every
// mounted file, also where change notifications do not arrive.
const pollEvery = 2 * time.Second

// watch calls each reload again and again until ctx ends; then the channel is closed.
// At SIGHUP they are asked to reload a file that has not changed, too.
func watch(ctx context.Context, reloads ...func(asked bool)) <-chan struct{} {
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
			for _, reload := range reloads {
				reload(asked)
			}
		}
	}()
	return done
}

// routesFile puts the routes of ROUTES_FILE in force again when they change.
type routesFile struct {
	c    config.Config
	use  func([]routes.Route)
	log  *slog.Logger
	seen [sha256.Size]byte // of the text last read, valid or not
}

func newRoutesFile(c config.Config, use func([]routes.Route), log *slog.Logger) *routesFile {
	f := &routesFile{c: c, use: use, log: log}
	if c.RoutesFile != "" {
		f.seen = c.RoutesSum
	}
	return f
}

func (f *routesFile) reload(asked bool) {
	if f.c.RoutesFile == "" {
		return
	}
	text, err := os.ReadFile(f.c.RoutesFile)
	sum := sha256.Sum256(text)
	if !asked && (err != nil || sum == f.seen) {
		return // the file may be being replaced just now
	}
	f.seen = sum
	list, err := f.c.ReadRoutesFile()
	if err != nil {
		f.log.Error("Routes not reloaded, the old ones stay in force", "err", err)
		return
	}
	f.use(list)
	f.log.Info("Routes reloaded", "routes", len(list))
}
