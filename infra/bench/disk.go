package bench

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"

	"github.com/jackc/pgx/v5"

	"sluice/infra/bench/load"
	"sluice/infra/postgres"
)

// disk compares how long a held acknowledgement takes with how long one flush of
// the WAL does, on a server whose disk is slow, as a cloud's is.
type disk struct {
	config   Config
	requests []load.Request
	sidecar  *sidecar
	flush    []load.Sender
}

const (
	sectionDisk = "Webhooks held on a disk whose fsync takes 2 ms more"
	oneFsync    = "one commit at a time"
)

//go:embed slowfsync.c.txt
var slowFsync string

var errNoCompiler = errors.New("a C compiler (cc) on Linux is needed for the slow disk")

func (s *stage) newDisk(ctx context.Context) (*disk, error) {
	shim, err := s.buildShim(ctx)
	if err != nil {
		return nil, err
	}
	server, err := postgres.Start(ctx, postgres.Options{Settings: serverSettings, Environment: []string{"LD_PRELOAD=" + shim}})
	if err != nil {
		return nil, err
	}
	s.onClose(server.Close)
	d := &disk{config: s.config, requests: load.GitHub(s.config.Repositories, s.config.Bytes)}
	noApp, err := freeAddr() // nothing listens there
	if err != nil {
		return nil, err
	}
	d.sidecar = &sidecar{database: server.URL}
	if err := s.serve(ctx, d.sidecar, noApp, "GITHUB_WEBHOOK_SECRET="+load.Secret); err != nil {
		return nil, err
	}
	conn, err := s.connect(ctx, server.URL)
	d.flush = []load.Sender{flusher{conn}}
	return d, err
}

// buildShim makes the library that PostgreSQL is started with.
func (s *stage) buildShim(ctx context.Context) (string, error) {
	cc, err := exec.LookPath("cc")
	if err != nil || runtime.GOOS != "linux" {
		return "", errNoCompiler
	}
	// The server's user must be able to read it; s.dir is for this one only.
	dir, err := os.MkdirTemp("", "sluice-bench-shim-")
	if err != nil {
		return "", fmt.Errorf("make directory: %w", err)
	}
	s.onClose(func() error { return os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		return "", fmt.Errorf("open directory: %w", err)
	}
	source, shim := filepath.Join(dir, "slowfsync.c"), filepath.Join(dir, "slowfsync.so")
	if err := os.WriteFile(source, []byte(slowFsync), 0o644); err != nil {
		return "", fmt.Errorf("write source: %w", err)
	}
	if out, err := exec.CommandContext(ctx, cc, "-O2", "-shared", "-fPIC", "-o", shim, source).CombinedOutput(); err != nil {
		return "", fmt.Errorf("compile shim: %w\n%s", err, out)
	}
	return shim, nil
}

// flusher commits a record of some bytes: one flush of the WAL.
type flusher struct{ conn *pgx.Conn }

func (f flusher) Send(ctx context.Context) error {
	if _, err := f.conn.Exec(ctx, "SELECT pg_logical_emit_message(true, 'bench', 'a record')"); err != nil {
		return fmt.Errorf("commit record: %w", err)
	}
	return nil
}

func (d *disk) round(ctx context.Context, number int, r *Report) error {
	spec := load.Spec{Warm: warm, Measure: d.config.Turn, Meters: []load.Meter{d.sidecar.CPU}}
	return inTurn(number, func() error {
		got, err := load.Post(ctx, spec,
			load.Target{Addr: d.sidecar.addr, Connections: d.config.PassConnections, Requests: d.requests})
		if err != nil {
			return fmt.Errorf("sidecar: %w", err)
		}
		f := figures(got)
		f.CPU = each(got.Used[0], got.Answered)
		r.add(sectionDisk, "sidecar", number, f)
		return nil
	}, func() error {
		got, err := load.Run(ctx, load.Spec{Warm: warm, Measure: d.config.Turn}, d.flush)
		if err != nil {
			return fmt.Errorf("commit: %w", err)
		}
		r.add(sectionDisk, oneFsync, number, figures(got))
		return nil
	})
}
