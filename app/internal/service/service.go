// Package service wires the app's packages together, starts them and stops them in
// order. It owns the order of start and stop, and the reload of the hooks file. It
// must never handle a webhook or a job itself. The cli package calls it.
package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"sluice/app/drain"
	"sluice/app/internal/actions"
	"sluice/app/internal/config"
	"sluice/app/internal/database"
	"sluice/app/internal/intake"
	"sluice/app/internal/jobs"
	"sluice/app/internal/server"
	"sluice/app/internal/tracing"
	"sluice/sidecar/routes"
	"sluice/sidecar/senders"
)

// Service is the whole app.
type Service struct {
	c      config.Config
	log    *slog.Logger
	rules  *rules
	routes *routesFile
	tracer *tracing.Tracer
	drain  *drain.Drain
	pool   *pgxpool.Pool
	runner *jobs.Runner
	intake *intake.Intake
	server *server.Server
}

// New wires the app together. It does not connect or listen yet; settings and
// hooks that are invalid are refused here.
func New(c config.Config, log *slog.Logger) (*Service, error) {
	set, err := actions.New(actions.Config{
		GitHub: actions.GitHub{
			URL: c.GitHubAPIURL, Token: c.GitHubToken.Reveal(),
			AppID: c.GitHubAppID, PrivateKey: c.GitHubAppKey.Reveal(), Installation: c.GitHubAppInstall,
		},
		Slack:   actions.Slack{URL: c.SlackAPIURL, Token: c.SlackBotToken.Reveal(), WebhookURL: c.SlackWebhookURL.Reveal()},
		PerHost: c.HTTPPerHost,
		Secrets: c.Revealed(),
	})
	if err != nil {
		return nil, err
	}
	s := &Service{c: c, log: log}
	if s.tracer, err = tracing.FromEnvironment(context.Background()); err != nil {
		return nil, err
	}
	if s.rules, err = loadRules(c.HooksFile, set, log); err != nil {
		return nil, err
	}
	secrets := routes.Secrets(c.SluiceSecret.Reveal())
	s.drain = drain.New(drain.Config{Grace: c.Grace(), Termination: c.Termination(), Verify: verifyDrain(secrets), Logger: log})
	if s.pool, err = database.Open(c.Database()); err != nil {
		return nil, err
	}
	s.runner, err = jobs.New(jobs.Config{
		Pool: s.pool, Drain: s.drain, Rules: s.rules.inForce, Actions: set, Tracer: s.tracer,
		MaxWorkers: c.MaxWorkers, Retention: c.Retention, PollOnly: c.DatabasePooler != "", Logger: log,
	})
	if err != nil {
		s.pool.Close()
		return nil, err
	}
	s.intake = intake.New(s.pool, s.runner, log)
	s.server = server.New(server.Config{
		Drain: s.drain, Store: s.intake, Rules: s.rules.inForce, Ping: ping(s.pool),
		GitHubAPIURL: c.GitHubAPIURL, Routes: c.Routes, SluiceSecrets: secrets,
		MaxBodyBytes: c.MaxBodyBytes, MaxInflightBytes: c.MaxInflightBytes, Tracer: s.tracer, Logger: log,
	})
	s.routes = newRoutesFile(c, s.server.SetRoutes, log)
	s.routes.warnUnknown(s.rules.inForce())
	return s, nil
}

// verifyDrain returns the check by which only the sidecar can begin the drain over
// HTTP, or nil when the two share no secret.
func verifyDrain(secrets []string) func(*http.Request) error {
	if len(secrets) == 0 {
		return nil
	}
	return func(r *http.Request) error { return senders.VerifyDrain(r.Header, secrets, time.Now()) }
}

// Run serves until a drain has ended; a signal, POST /drain or ctx's end begins the
// drain. It returns the exit code.
func (s *Service) Run(ctx context.Context) (int, error) {
	listener, err := net.Listen("tcp", net.JoinHostPort(s.c.Listen, strconv.Itoa(s.c.Port)))
	if err != nil {
		s.intake.Close()
		s.pool.Close()
		return 1, fmt.Errorf("listen: %w", err)
	}
	s.log.Info("App listening", "addr", listener.Addr().String())

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	web := &http.Server{
		Handler:           s.server.Handler(),
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       2 * time.Minute,
		IdleTimeout:       2 * time.Minute,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelWarn),
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		err := web.Serve(listener)
		if !errors.Is(err, http.ErrServerClosed) {
			cancel(fmt.Errorf("serve: %w", err))
		}
	}()
	reloading := watch(ctx, s.reload)
	starting, stopStarting := context.WithCancel(ctx)
	started := make(chan struct{})
	go func() {
		defer close(started)
		s.start(starting)
	}()

	s.drain.OnBegin(stopStarting)
	s.drain.OnBegin(s.runner.StopFetching)
	s.drain.OnStop("http", func(ctx context.Context) error {
		err := web.Shutdown(ctx)
		<-served
		return err
	})
	s.drain.OnStop("start", within(func() { <-started }))
	s.drain.OnStop("jobs", s.runner.Close)
	s.drain.OnStop("intake", within(s.intake.Close))
	s.drain.OnStop("tracing", s.endTracing)
	s.drain.OnStop("pool", within(s.pool.Close))

	code := s.drain.Wait(ctx)
	cancel(nil)
	<-reloading
	s.log.Info("App stopped", "exit_code", code)
	return code, nil
}

// within limits a step that takes no context: with the database away, a pool waits
// for its last connection for ever. The process ends soon after in any case.
func within(step func()) func(context.Context) error {
	return func(ctx context.Context) error {
		done := make(chan struct{})
		go func() {
			defer close(done)
			step()
		}()
		select {
		case <-done:
			return nil
		case <-ctx.Done():
			return fmt.Errorf("not done in time: %w", ctx.Err())
		}
	}
}

// endTracing sends the last spans. When the collector is away, the drain still
// counts as clean, and the step ends after a second.
func (s *Service) endTracing(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if err := s.tracer.Close(ctx); err != nil {
		s.log.Warn("Traces not sent", "err", err)
	}
	return nil
}

// start migrates the schema and starts the jobs, and retries until that succeeds or
// ctx ends. Until then health checks answer 503 and webhooks are refused.
func (s *Service) start(ctx context.Context) {
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, 5*time.Second) {
		err := s.startOnce(ctx)
		if err == nil {
			s.server.Ready()
			s.log.Info("App ready")
			return
		}
		if ctx.Err() != nil {
			return
		}
		s.log.Error("Start failed, trying again", "err", err, "pause_ms", pause.Milliseconds())
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
	}
}

func (s *Service) startOnce(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := database.Migrate(ctx, s.pool, s.log); err != nil {
		return err
	}
	return s.runner.Start(ctx)
}

// reload reads the files again, as [watch] asks.
func (s *Service) reload(asked bool) {
	hooksNew, routesNew := s.rules.reload(asked), s.routes.reload(asked)
	if hooksNew || routesNew {
		s.routes.warnUnknown(s.rules.inForce())
	}
}

func ping(pool *pgxpool.Pool) func(context.Context) error {
	return func(ctx context.Context) error {
		_, err := pool.Exec(ctx, "SELECT 1")
		return err
	}
}
