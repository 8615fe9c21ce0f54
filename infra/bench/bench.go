// Package bench compares, on this machine and in one run, webhooks passed with
// other proxies doing the same, webhooks held with single INSERTs of the same
// rows, and webhooks replayed with posting to the app directly.
//
// The contenders take short turns, round after round. Each ratio compares two
// turns of the same round, so that other load on the machine affects both. The
// package owns the processes and databases of a run. It must never look inside
// the sidecar: it posts, counts and reads /proc. The command infra/cmd/bench
// calls it.
package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Config says what is measured, and how long.
type Config struct {
	Sections     []string // of Sections(); all when empty
	Rounds       int
	SlowRounds   int           // of the parts whose rounds take long
	Deploy       time.Duration // how long webhooks are sent in a rolled deploy
	Turn         time.Duration // of one contender in one round
	Held         int           // webhooks held for a replay
	Bytes        int           // size of a body
	Repositories int           // that webhooks come from, each a lane
	Fresh        bool          // webhooks are held in tables that never had a row (warmup.go)

	Rate            int // webhooks a second at the fixed rate
	Rows            int // of the long backlog
	Lanes           int // that the long backlog lies in
	UsualRows       int // of the backlog that it is compared with, in 16 lanes
	IdleConnections int
	Profile         string // directory for CPU profiles of the sidecars; none when empty

	PassConnections   int // of the sender while webhooks are passed
	HoldConnections   int // of the sender while they are held, and of the single INSERTs
	CopyConnections   int // of the sender while they are held beside CopyFrom, and rows that CopyFrom has under way
	ReplayConnections int // REPLAY_CONCURRENCY, and connections for posting directly

	DatabaseURL string // a server to use; a throwaway one is started when empty
	Sidecar     string // binaries; built from the workspace when empty
	App         string
	Self        string // the program that runs as a stand-in with the arguments below
	// StandInApp and StandInProxy return the arguments that make Self the app,
	// and the proxy of the standard library.
	StandInApp   func(addr string) []string
	StandInProxy func(addr, upstream string) []string
	Progress     func(line string)
}

// Defaults are the settings that docs/performance.md uses.
func Defaults() Config {
	return Config{
		Rounds: 5, SlowRounds: 3, Deploy: 25 * time.Second, Turn: 1500 * time.Millisecond, Held: 4000, Bytes: 2048, Repositories: 16,
		Rate: 1000, Rows: 200000, Lanes: 20000, UsualRows: 100000, IdleConnections: 10000,
		PassConnections: 32, HoldConnections: 64, CopyConnections: 256, ReplayConnections: 8,
		Progress: func(string) {},
	}
}

// Quick makes the settings that still have their defaults those of a run of two or
// three minutes, whose figures show large changes only.
func (c *Config) Quick() {
	d := Defaults()
	for _, one := range []struct {
		is        *int
		was, then int
	}{
		{&c.Rounds, d.Rounds, 2}, {&c.SlowRounds, d.SlowRounds, 1}, {&c.Held, d.Held, 1000},
		{&c.Rows, d.Rows, 10000}, {&c.Lanes, d.Lanes, 1000}, {&c.UsualRows, d.UsualRows, 5000},
		{&c.IdleConnections, d.IdleConnections, 2000},
	} {
		if *one.is == one.was {
			*one.is = one.then
		}
	}
	if c.Turn == d.Turn {
		c.Turn = 500 * time.Millisecond
	}
	c.Deploy = min(c.Deploy, 20*time.Second)
}

// kind is a part of the bench.
type kind struct {
	name    string
	prepare func(context.Context, *stage) (section, error)
	slow    bool // has SlowRounds at most
}

var kinds = []kind{
	{"pass", func(ctx context.Context, s *stage) (section, error) { return s.newPass(ctx) }, false},
	{"rate", func(ctx context.Context, s *stage) (section, error) { return s.newRate(ctx) }, false},
	{"hold", func(ctx context.Context, s *stage) (section, error) { return s.newHold(ctx) }, false},
	{"replay", func(ctx context.Context, s *stage) (section, error) { return s.newReplay(ctx) }, false},
	{"disk", func(ctx context.Context, s *stage) (section, error) { return s.newDisk(ctx) }, false},
	{"lanes", func(ctx context.Context, s *stage) (section, error) { return s.newLanes(ctx) }, true},
	{"idle", func(ctx context.Context, s *stage) (section, error) { return s.newIdle(ctx) }, true},
	{"rolled", func(ctx context.Context, s *stage) (section, error) { return s.newRolled(ctx) }, true},
}

// Sections are the names of what can be measured.
func Sections() (names []string) {
	for _, k := range kinds {
		names = append(names, k.name)
	}
	return names
}

// warm is how long each contender is driven before its turn counts.
const warm = 300 * time.Millisecond

// section is a group of contenders that are compared with each other.
type section interface {
	// round gives each contender its turn.
	round(ctx context.Context, number int, r *Report) error
}

// Run measures. It stops everything it started before it returns.
func Run(ctx context.Context, c Config) (report *Report, err error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	s, err := newStage(ctx, c)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	report = newReport(c)
	report.Machine.PostgreSQL = s.version
	var sections []section
	var chosen []kind
	for _, k := range kinds {
		name := k.name
		if !slices.Contains(c.Sections, name) {
			continue
		}
		c.Progress("preparing " + name)
		s.preparing = name
		one, err := k.prepare(ctx, s)
		if err != nil {
			return nil, fmt.Errorf("prepare %s: %w", name, err)
		}
		sections, chosen = append(sections, one), append(chosen, k)
	}
	for n := range c.Rounds {
		for i, one := range sections {
			if chosen[i].slow && n >= c.SlowRounds {
				continue
			}
			c.Progress(fmt.Sprintf("round %d of %d: %s", n+1, c.Rounds, chosen[i].name))
			s.preparing = chosen[i].name
			if err := one.round(ctx, n, report); err != nil {
				return nil, fmt.Errorf("measure %s: %w", chosen[i].name, err)
			}
		}
	}
	report.Seconds = time.Since(report.Started).Seconds()
	report.conclude()
	return report, nil
}

func (c *Config) check() error {
	if len(c.Sections) == 0 {
		c.Sections = Sections()
	}
	for _, name := range c.Sections {
		if !slices.Contains(Sections(), name) {
			return fmt.Errorf("section %q must be one of %s", name, strings.Join(Sections(), ", "))
		}
	}
	for name, n := range map[string]int{
		"rounds": c.Rounds, "slow rounds": c.SlowRounds, "held": c.Held, "repositories": c.Repositories, "rate": c.Rate,
		"rows": c.Rows, "lanes": c.Lanes, "usual rows": c.UsualRows, "idle connections": c.IdleConnections, "pass connections": c.PassConnections,
		"hold connections": c.HoldConnections, "copy connections": c.CopyConnections, "replay connections": c.ReplayConnections,
	} {
		if n < 1 {
			return fmt.Errorf("%s: %d must be above 0", name, n)
		}
	}
	if c.Turn < 100*time.Millisecond {
		return fmt.Errorf("turn: %v must be at least 100ms", c.Turn)
	}
	if c.Bytes < 256 {
		return fmt.Errorf("bytes: %d must be at least 256", c.Bytes)
	}
	return nil
}
