// Package postgres runs a throwaway PostgreSQL server on this machine.
//
// It owns the server's process, its data directory and its port. The server
// commits to disk (fsync on) unless told otherwise, because its
// users test durability. It must never touch a server that it did not start. On Linux the
// kernel ends the server with its parent process. Package testkit, the rehearsal,
// the benchmarks and the command withpg call [Start] and [Fresh].
//
// While a server runs, one goroutine waits for its process. A check for leaked
// goroutines ignores it with
// goleak.IgnoreAnyFunction("sluice/infra/postgres.(*process).own").
package postgres

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"sluice/infra/ports"
)

const (
	superuser   = "postgres"
	readyLimit  = 60 * time.Second // crash recovery after Kill included
	readyPoll   = 20 * time.Millisecond
	stopLimit   = 30 * time.Second
	maxSocket   = 100 // sun_path holds 104 bytes on macOS, 108 on Linux
	portRetries = 5
)

// Options say how the server is set up. The zero value is usable.
type Options struct {
	// Parent is the directory in which the server's own is made; os.TempDir()
	// when empty. As root it must be open to the user the server runs as.
	Parent string
	// Scram requires a password; otherwise every connection is trusted.
	Scram bool
	// NoFsync makes the server faster; a crash of the machine may lose its data.
	NoFsync bool
	// MaxConnections defaults to 200.
	MaxConnections int
	// Settings are further server settings ("log_statement": "all").
	Settings map[string]string
	// Environment is added to that of the server's processes ("LD_PRELOAD=...").
	Environment []string
	// LogFile receives the server's log. When empty, the log is in the server's
	// directory, which Close removes.
	LogFile string
	// Progress receives a line for each step that may take long; nil for none.
	Progress io.Writer
}

// Server is a running or stopped server. It is not for concurrent use.
type Server struct {
	// URL reaches the server's database "postgres" as a superuser, over TCP.
	// It stays the same from Start to Close.
	URL string

	options  Options
	bin      string
	dir      string
	port     int
	password string
	owner    *account
	proc     *process
}

// Start makes a new server and returns once it takes connections. The caller
// ends it with Close.
func Start(ctx context.Context, o Options) (*Server, error) {
	s := &Server{options: o}
	if err := s.setUp(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	var err error
	for range portRetries { // another process may take the port before the server does
		if s.port, err = ports.Free(); err != nil {
			break
		}
		if err = s.launch(ctx); err == nil || ctx.Err() != nil {
			break
		}
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// setUp makes the directory, finds the binaries and initialises the cluster.
func (s *Server) setUp(ctx context.Context) error {
	var err error
	if s.owner, err = serverAccount(); err != nil {
		return err
	}
	if s.dir, err = os.MkdirTemp(s.options.Parent, "sluice-pg-"); err != nil {
		return fmt.Errorf("make server directory: %w", err)
	}
	if err = s.owner.own(s.dir); err != nil {
		return err
	}
	if s.bin, err = findBinaries(s.dir, s.progress); err != nil {
		return err
	}
	args := []string{"-D", s.data(), "-U", superuser, "-E", "UTF8", "--locale=C", "--no-sync", "--auth=trust"}
	if s.options.Scram {
		s.password = rand.Text()
		file := filepath.Join(s.dir, "password")
		if err = os.WriteFile(file, []byte(s.password), 0o600); err != nil {
			return fmt.Errorf("write password file: %w", err)
		}
		defer os.Remove(file)
		if err = s.owner.own(file); err != nil {
			return err
		}
		args[len(args)-1] = "--auth=scram-sha-256"
		args = append(args, "--pwfile="+file)
	}
	return s.owner.run(ctx, s.dir, filepath.Join(s.bin, "initdb"), args...)
}

// launch starts the server on s.port and waits until it answers.
func (s *Server) launch(ctx context.Context) error {
	s.URL = s.url()
	proc, err := startProcess(s.owner, s.dir, s.logFile(), s.options.Environment,
		filepath.Join(s.bin, "postgres"), s.args()...)
	if err != nil {
		return err
	}
	s.proc = proc
	if err := s.waitReady(ctx); err != nil {
		err = errors.Join(err, s.Stop())
		return fmt.Errorf("start server on port %d: %w\n%s", s.port, err, s.lastLog())
	}
	return nil
}

func (s *Server) args() []string {
	connections := s.options.MaxConnections
	if connections == 0 {
		connections = 200
	}
	sockets := s.dir
	if len(filepath.Join(s.dir, ".s.PGSQL.65535.lock")) > maxSocket {
		sockets = ""
	}
	args := []string{"-D", s.data(), "-p", strconv.Itoa(s.port)}
	set := func(name, value string) { args = append(args, "-c", name+"="+value) }
	set("listen_addresses", "127.0.0.1")
	set("unix_socket_directories", sockets)
	set("max_connections", strconv.Itoa(connections))
	set("shared_buffers", "64MB")
	set("max_wal_size", "512MB")
	set("log_checkpoints", "off")
	set("timezone", "UTC")
	if s.options.NoFsync {
		set("fsync", "off")
		set("full_page_writes", "off")
	}
	for name, value := range s.options.Settings {
		set(name, value)
	}
	return args
}

func (s *Server) waitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyLimit)
	defer cancel()
	tick := time.NewTicker(readyPoll)
	defer tick.Stop()
	var last error
	for {
		conn, err := pgx.Connect(ctx, s.URL)
		if err == nil {
			return conn.Close(ctx)
		}
		last = err
		select {
		case <-tick.C:
		case <-s.proc.ended:
			return fmt.Errorf("wait for server: it ended: %w", errors.Join(s.proc.err, last))
		case <-ctx.Done():
			return fmt.Errorf("wait for server: %w (last: %w)", context.Cause(ctx), last)
		}
	}
}

// Stop shuts the server down: open sessions are cut, data is flushed and stays
// for Restart. Stopping a stopped server does nothing.
func (s *Server) Stop() error { return s.end(fastShutdown) }

// Kill ends the server at once without a checkpoint, as a crash would. The next
// Restart does crash recovery.
func (s *Server) Kill() error { return s.end(immediateShutdown) }

func (s *Server) end(how shutdown) error {
	if s.proc == nil {
		return nil
	}
	err := s.Thaw() // a frozen server handles no signal
	err = errors.Join(err, s.proc.end(how, stopLimit))
	s.proc = nil
	return err
}

// Restart starts the server on its port and data again, stopping it first when
// it runs.
func (s *Server) Restart(ctx context.Context) error {
	if err := s.Stop(); err != nil {
		return err
	}
	return s.launch(ctx)
}

// Close stops the server and removes its data. It may be called twice.
func (s *Server) Close() error {
	err := s.Stop()
	if s.dir != "" {
		err = errors.Join(err, os.RemoveAll(s.dir))
	}
	return err
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

func (s *Server) logFile() string {
	if s.options.LogFile != "" {
		return s.options.LogFile
	}
	return filepath.Join(s.dir, "server.log")
}

func (s *Server) url() string {
	u := url.URL{
		Scheme:   "postgres",
		User:     url.User(superuser),
		Host:     net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)),
		Path:     "/postgres",
		RawQuery: "sslmode=disable",
	}
	if s.password != "" {
		u.User = url.UserPassword(superuser, s.password)
	}
	return u.String()
}

func (s *Server) progress(line string) {
	if s.options.Progress != nil {
		fmt.Fprintln(s.options.Progress, line)
	}
}

// lastLog returns the end of the server's log for an error message.
func (s *Server) lastLog() string {
	log, err := os.ReadFile(s.logFile())
	if err != nil {
		return ""
	}
	return string(log[max(0, len(log)-2000):])
}
