package rehearsal

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"sluice/infra/rehearsal/replica"
	"sluice/infra/rehearsal/sender"
)

// secrets may stand here because nothing outside a rehearsal uses them.
var secrets = sender.Secrets{GitHub: "rehearsal-github", Slack: "rehearsal-slack"}

const sluiceSecret = "rehearsal-sluice"

// hooksFile writes the app's rules: one job per webhook, run by the recorder.
func hooksFile(dir, recorder, records string) (string, error) {
	path := filepath.Join(dir, "hooks.yaml")
	rules := fmt.Sprintf(`hooks:
  - name: record
    source: "*"
    event: "*"
    require_verified: false
    action:
      exec: {argv: [%q, %q], timeout: 60s}
`, recorder, records)
	if err := os.WriteFile(path, []byte(rules), 0o644); err != nil {
		return "", fmt.Errorf("write hooks file: %w", err)
	}
	return path, nil
}

// sidecarCommand is the sidecar's container.
func (s *stage) sidecarCommand(name, revision, startupGate string) func(replica.Ports) replica.Command {
	return func(p replica.Ports) replica.Command {
		env := s.env(
			"LISTEN_ADDR="+replica.Addr(p.Public),
			"PROBE_ADDR="+replica.Addr(p.Probe),
			"CONTROL_ADDR="+replica.Addr(p.Control),
			"APP_URL=http://"+replica.Addr(p.App),
			"ORDER="+s.config.Order,
			"STARTUP_GATE="+startupGate,
			"CONTAINER_APP_REPLICA_NAME="+name,
			"CONTAINER_APP_REVISION="+revision,
			"TERMINATION_GRACE_SECONDS="+strconv.Itoa(int(s.config.sidecarStops().Seconds())),
		)
		if s.config.Replace == "sidecar" {
			env = append(env, "APP_STAYS=true")
		}
		if s.config.Lanes > 1 {
			env = append(env, "LANES="+sender.LaneKeys())
		}
		return replica.Command{Path: s.config.Programs.Sidecar, Args: []string{"serve"}, Env: env}
	}
}

// appCommand is the app's container.
func (s *stage) appCommand(delay time.Duration) func(replica.Ports) replica.Command {
	return func(p replica.Ports) replica.Command {
		env := s.env(
			"PORT="+strconv.Itoa(p.App),
			"HOOKS_FILE="+s.hooks,
			"SHUTDOWN_GRACE_MS="+strconv.FormatInt(s.drainWindow().Milliseconds(), 10),
			"MAX_WORKERS="+strconv.Itoa(s.config.Workers),
		)
		return replica.Command{Path: s.config.Programs.App, Args: []string{"serve"}, Env: env, Delay: delay}
	}
}

// bothCommand is the container that runs both: the sidecar gives the app its port.
func (s *stage) bothCommand(sidecar, app func(replica.Ports) replica.Command) func(replica.Ports) replica.Command {
	return func(p replica.Ports) replica.Command {
		both, inner := sidecar(p), app(p)
		both.Args = append([]string{"run", "--", inner.Path}, inner.Args...)
		for _, v := range inner.Env {
			if !strings.HasPrefix(v, "PORT=") {
				both.Env = append(both.Env, v)
			}
		}
		return both
	}
}

// bareCommand is the app without a sidecar beside it, so without a secret of theirs.
func bareCommand(app func(replica.Ports) replica.Command) func(replica.Ports) replica.Command {
	return func(p replica.Ports) replica.Command {
		c := app(p)
		c.Env = slices.DeleteFunc(c.Env, func(v string) bool { return strings.HasPrefix(v, "SLUICE_SECRET=") })
		return c
	}
}

func (s *stage) drainWindow() time.Duration {
	if s.config.Scenario == "long-drain" {
		return longDrainWindow
	}
	return min(s.config.DrainWindow, s.config.Grace/3)
}

// env is the environment of both containers, with more for one of them. The
// configuration's own variables come last and override the others.
func (s *stage) env(more ...string) []string {
	env := []string{
		"DATABASE_URL=" + s.database,
		"GITHUB_WEBHOOK_SECRET=" + secrets.GitHub,
		"SLACK_SIGNING_SECRET=" + secrets.Slack,
		"SLUICE_SECRET=" + sluiceSecret,
		"WEBHOOK_ROUTES=/webhooks/github=github,/webhooks/slack/events=slack,/hooks/*=generic",
		"ALLOW_UNVERIFIED=true", // a third of the webhooks has no signature
		"TERMINATION_GRACE_SECONDS=" + strconv.Itoa(int(s.config.Grace.Seconds())),
		"LOG_FORMAT=json",
	}
	return append(append(env, more...), s.config.Env...)
}
