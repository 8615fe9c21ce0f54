package testkit

import (
	"context"
	"fmt"
	"os"
	"testing"

	"sluice/infra/postgres"
)

// server is the PostgreSQL of this test process.
type server struct {
	url   string
	owned *postgres.Server // nil where postgres.TestURLVar names one
}

func (s *server) start() error {
	if s.url != "" {
		return nil
	}
	if s.url = os.Getenv(postgres.TestURLVar); s.url != "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	// Tests that run side by side have replicas with pools of their own.
	owned, err := postgres.Start(ctx, postgres.Options{MaxConnections: 400})
	if err != nil {
		return fmt.Errorf("start PostgreSQL: %w", err)
	}
	s.owned, s.url = owned, owned.URL
	return nil
}

func (s *server) stop() error {
	if s.owned == nil {
		return nil
	}
	if err := s.owned.Close(); err != nil {
		return fmt.Errorf("stop PostgreSQL: %w", err)
	}
	return nil
}

// Database returns the URL of a fresh, empty database which is dropped, with
// whoever is still connected, when the test ends. Databases of different tests
// share a server.
func Database(tb testing.TB) string {
	tb.Helper()
	return DatabaseOn(tb, ServerURL(tb))
}

// DatabaseOn is Database on the server that the URL names.
func DatabaseOn(tb testing.TB, url string) string {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	fresh, drop, err := postgres.Fresh(ctx, url)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), Patience)
		defer cancel()
		if err := drop(ctx); err != nil {
			tb.Error(err)
		}
	})
	return fresh
}

// Server starts a PostgreSQL of the test's own, which it may freeze, stop and
// kill. It ends with the test.
func Server(tb testing.TB, o postgres.Options) *postgres.Server {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	s, err := postgres.Start(ctx, o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Error(err)
		}
	})
	return s
}

// ServerURL returns the URL of the server on which Database makes its databases.
func ServerURL(tb testing.TB) string {
	tb.Helper()
	shared.Lock()
	defer shared.Unlock()
	needMain(tb)
	if err := shared.server.start(); err != nil {
		tb.Fatal(err)
	}
	return shared.server.url
}
