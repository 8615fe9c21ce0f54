package rehearsal

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"sluice/infra/postgres"
	"sluice/infra/rehearsal/replica"
)

// Config says which scenario is played, and how. Start from Defaults.
type Config struct {
	Scenario string

	Rate     int           // webhooks per second
	Duration time.Duration // of the sending; Rate x Duration webhooks in all
	Senders  int           // sequential senders for each lane
	Lanes    int           // for each source
	Bytes    int           // per body
	Retry    bool          // whether senders that retry do so
	Seed     uint64        // of the webhooks' ids, for two runs with the same traffic; the sidecar's own times are not measured then
	MaxTries int

	Order           string        // ORDER of the sidecars: "lane", "strict" or "none"
	Home            string        // whose platform ends the replicas: one of Homes
	Replace         string        // deploy: "app" or "sidecar" alone is replaced, "" for the replica
	Signal          replica.Order // SIGTERM: to both containers at once, or one first; unset, as the home does
	Grace           time.Duration // from SIGTERM to SIGKILL
	DrainWindow     time.Duration // SHUTDOWN_GRACE_MS of the app
	Linger          time.Duration // how long the balancer routes to a replica after its SIGTERM
	Overlap         time.Duration // how long both revisions take traffic before the old one is signalled
	Backoff         time.Duration // before a crashed container starts again
	BootDelay       time.Duration // slow-boot: how late the app starts
	Away            time.Duration // db-away: how long PostgreSQL is gone
	Work            time.Duration // long-drain: how long its jobs take
	ProbeEvery      time.Duration // of the balancer
	BalancerRetries int           // how often the balancer repeats a failed request itself
	Workers         int           // MAX_WORKERS of the app
	SettleLimit     time.Duration // how long to wait for held webhooks without progress

	Programs Programs
	// Env is added to the environment of both containers, as "NAME=value".
	Env []string
	// Dir receives a directory for each run, with the logs of its processes.
	Dir string
	// KeepLogs leaves the directory of a good run there too.
	KeepLogs bool

	// DatabaseURL names a server on which each run makes a database of its own.
	DatabaseURL string
	// Server is that server when the rehearsal may stop it, which db-away needs.
	Server *postgres.Server

	// Progress receives a line each second while a run goes on; nil for none.
	Progress func(line string)
}

// Programs are the paths of the binaries.
type Programs struct{ Sidecar, App, Recorder string }

// Defaults returns a rehearsal of moderate size.
func Defaults() Config {
	return Config{
		Rate: 100, Duration: 15 * time.Second, Senders: 8, Lanes: 1, Bytes: 2048, Retry: true, MaxTries: 60,
		Order: "lane", Home: "azure", Grace: 30 * time.Second, DrainWindow: 10 * time.Second,
		Linger: time.Second, Overlap: time.Second, Backoff: time.Second, BootDelay: 5 * time.Second,
		Away: 3 * time.Second, Work: 5 * time.Second, ProbeEvery: 100 * time.Millisecond,
		Workers: 16, SettleLimit: 30 * time.Second,
	}
}

// longDrainWindow is the first window of long-drain, which its work outlasts.
const longDrainWindow = 3 * time.Second

func (c *Config) check() error {
	var problems []error
	must := func(ok bool, format string, args ...any) {
		if !ok {
			problems = append(problems, fmt.Errorf(format, args...))
		}
	}
	_, known := scenarios[c.Scenario]
	must(known, "scenario %q must be one of %s", c.Scenario, strings.Join(Scenarios(), ", "))
	must(c.Rate > 0, "rate %d must be positive", c.Rate)
	must(c.Duration > 0, "duration %s must be positive", c.Duration)
	must(c.Senders > 0, "senders %d must be positive", c.Senders)
	must(c.Lanes > 0, "lanes %d must be positive", c.Lanes)
	must(c.Bytes >= 512, "bytes %d must be at least 512", c.Bytes)
	must(c.MaxTries > 0, "max tries %d must be positive", c.MaxTries)
	must(slices.Contains([]string{"lane", "strict", "none"}, c.Order), "order %q must be lane, strict or none", c.Order)
	must(slices.Contains([]string{"", "app", "sidecar"}, c.Signal.First), "first %q must be app or sidecar", c.Signal.First)
	must(c.Grace >= 5*time.Second, "grace %s must be at least 5s", c.Grace)
	_, known = homes[c.Home]
	must(known, "home %q must be one of %s", c.Home, strings.Join(Homes(), ", "))
	must(c.Home == "azure" || c.Home == Bare || c.Scenario == "deploy", "home %s is for deploy only", c.Home)
	must(c.Home != Bare || slices.Contains(bareScenarios, c.Scenario), "without a sidecar there are only %s", strings.Join(bareScenarios, ", "))
	must(slices.Contains([]string{"", "app", "sidecar"}, c.Replace), "replace %q must be app or sidecar", c.Replace)
	must(c.Replace == "" || c.Scenario == "deploy" && !c.home().alone && !c.home().bare, "replace is for deploy, with two containers")
	must(c.Signal.First == "" || !c.home().alone && !c.home().bare, "first is for two containers")
	must(c.ProbeEvery > 0, "probe interval %s must be positive", c.ProbeEvery)
	must(c.Workers > longJobs, "workers %d must be above %d", c.Workers, longJobs)
	must(c.Scenario != "db-away" || c.Server != nil, "db-away stops PostgreSQL, so it cannot use the server of DATABASE_URL")
	must(c.Scenario != "long-drain" || c.Work > longDrainWindow, "work %s must be longer than the first window of %s", c.Work, longDrainWindow)
	return errors.Join(problems...)
}

// settings are the parts of the configuration that the report shows.
func (c *Config) settings() map[string]string {
	s := map[string]string{
		"rate":     fmt.Sprintf("%d/s", c.Rate),
		"duration": c.Duration.String(),
		"order":    c.Order,
		"grace":    c.Grace.String(),
		"senders":  fmt.Sprintf("%d x %d lanes", c.Senders, 3*c.Lanes),
		"home":     c.Home,
		"signal":   "both at once",
	}
	switch o := c.signal(); {
	case c.home().alone, c.home().bare:
		s["signal"] = "the one container"
	case c.Replace != "":
		s["signal"] = "the " + c.Replace + " alone"
	case o.After:
		s["signal"] = o.First + " first, the other once it has ended"
	case o.First != "":
		s["signal"] = fmt.Sprintf("%s first, by %s", o.First, o.Lead)
	}
	if !c.Retry {
		s["retries"] = "none"
	}
	return s
}
