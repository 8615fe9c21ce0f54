package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"sluice/infra/bench/load"
	"sluice/infra/bench/process"
	"sluice/infra/ports"
	"sluice/infra/postgres"
)

const (
	readyLimit = time.Minute
	readyPoll  = 20 * time.Millisecond
	stopLimit  = 5 * time.Second
)

// stage is what a run has started.
type stage struct {
	config   Config
	dir      string
	server   *postgres.Server // nil when the database is the caller's
	database string
	version  string // of the server
	logs     int
	closers  []func() error // called last one first

	preparing string // the part that is prepared or measured, for names of profiles
	profiles  int

	postmaster int // process id of the server, 0 when it was given
}

func newStage(ctx context.Context, c Config) (*stage, error) {
	s := &stage{config: c, database: c.DatabaseURL}
	if err := s.setUp(ctx); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (s *stage) setUp(ctx context.Context) (err error) {
	if s.dir, err = os.MkdirTemp("", "sluice-bench-"); err != nil {
		return fmt.Errorf("make directory: %w", err)
	}
	s.onClose(func() error { return os.RemoveAll(s.dir) })
	if err := s.build(ctx); err != nil {
		return err
	}
	if s.database == "" {
		s.config.Progress("starting PostgreSQL")
		if s.server, err = postgres.Start(ctx, postgres.Options{Settings: serverSettings}); err != nil {
			return err
		}
		s.onClose(s.server.Close)
		s.database = s.server.URL
	}
	return s.examine(ctx)
}

func (s *stage) onClose(f func() error) { s.closers = append(s.closers, f) }

func (s *stage) close() error {
	var errs []error
	for _, f := range slices.Backward(s.closers) {
		errs = append(errs, f())
	}
	s.closers = nil
	return errors.Join(errs...)
}

// start runs a program until the stage is closed, unless it is stopped before.
func (s *stage) start(path string, args, env []string) (*process.Process, error) {
	s.logs++
	log := filepath.Join(s.dir, fmt.Sprintf("%s-%d.log", filepath.Base(path), s.logs))
	p, err := process.Start(process.Command{Path: path, Args: args, Env: env, Log: log})
	if err == nil {
		s.onClose(func() error { return p.Stop(stopLimit) })
	}
	return p, err
}

// sidecar is a running sidecar and where it is reached.
type sidecar struct {
	*process.Process
	addr     string // the public listener
	probe    string
	database string
}

// startSidecar runs a sidecar with a database of its own and waits until it can
// hold. It is set up as in production, except for env.
func (s *stage) startSidecar(ctx context.Context, app string, env ...string) (*sidecar, error) {
	sc := &sidecar{}
	var err error
	if sc.database, err = s.freshDatabase(ctx); err != nil {
		return nil, err
	}
	return sc, s.serve(ctx, sc, app, env...)
}

// serve starts a sidecar whose database is there.
func (s *stage) serve(ctx context.Context, sc *sidecar, app string, env ...string) (err error) {
	var control string
	for _, addr := range []*string{&sc.addr, &sc.probe, &control} {
		if *addr, err = freeAddr(); err != nil {
			return err
		}
	}
	env = append([]string{
		"DATABASE_URL=" + sc.database, "APP_URL=http://" + app,
		"LISTEN_ADDR=" + sc.addr, "PROBE_ADDR=" + sc.probe, "CONTROL_ADDR=" + control,
		"HOLD_TIMEOUT=30s", // a slow commit shall be measured, not fail
		"LANES=github:" + load.KeyPath, "REPLAY_CONCURRENCY=" + strconv.Itoa(s.config.ReplayConnections),
		"STARTUP_GATE=buffer", "LOG_LEVEL=info", "LOG_FORMAT=json",
	}, env...)
	if s.config.Profile != "" {
		s.profiles++
		file := fmt.Sprintf("%s-%d.pprof", s.preparing, s.profiles)
		env = append(env, profileVariable+"="+filepath.Join(s.config.Profile, file))
	}
	if sc.Process, err = s.start(s.config.Sidecar, []string{"serve"}, env); err != nil {
		return err
	}
	return await(ctx, sc.Process, "http://"+sc.probe+"/readyz", "")
}

func (s *stage) freshDatabase(ctx context.Context) (string, error) {
	url, drop, err := postgres.Fresh(ctx, s.database)
	if err != nil {
		return "", err
	}
	s.onClose(func() error {
		ctx, cancel := context.WithTimeout(context.Background(), readyLimit)
		defer cancel()
		return drop(ctx)
	})
	return url, nil
}

// connect opens a connection that the stage closes.
func (s *stage) connect(ctx context.Context, url string) (*pgx.Conn, error) {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return nil, fmt.Errorf("connect to database: %w", err)
	}
	s.onClose(func() error { return conn.Close(context.Background()) })
	return conn, nil
}

// examine asks the server for its version and, when this run started it, for its
// process.
func (s *stage) examine(ctx context.Context) error {
	conn, err := s.connect(ctx, s.database)
	if err != nil {
		return err
	}
	var backend int
	if err := conn.QueryRow(ctx, "SELECT current_setting('server_version'), pg_backend_pid()").Scan(&s.version, &backend); err != nil {
		return fmt.Errorf("examine server: %w", err)
	}
	if s.server != nil {
		s.postmaster, err = process.Parent(backend)
	}
	return err
}

// databaseCPU is the CPU time that the server has used; 0 for a given server,
// which may run on another machine.
func (s *stage) databaseCPU() (time.Duration, error) {
	if s.postmaster == 0 {
		return 0, nil
	}
	return process.CPU(s.postmaster)
}

// await polls a URL until it answers 200 with text in the body.
func await(ctx context.Context, p *process.Process, url, text string) error {
	ctx, cancel := context.WithTimeout(ctx, readyLimit)
	defer cancel()
	tick := time.NewTicker(readyPoll)
	defer tick.Stop()
	for {
		body, err := get(ctx, url)
		if err == nil && strings.Contains(body, text) {
			return nil
		}
		if err == nil {
			err = fmt.Errorf("answered %.200q", body)
		}
		if ended := p.Err(); ended != nil {
			return ended
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("wait for %q at %s: %w", text, url, err)
		}
	}
}

func get(ctx context.Context, url string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", fmt.Errorf("make request: %w", err)
	}
	req.Close = true // an idle connection would outlive the server process
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", fmt.Errorf("get: %w", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<16))
	if err != nil {
		return "", fmt.Errorf("read answer: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("answered %s", resp.Status)
	}
	return string(body), nil
}

func freeAddr() (string, error) {
	port, err := ports.Free()
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), err
}
