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
		Rounds: 5, Turn: 1500 * time.Millisecond, Held: 4000, Bytes: 2048, Repositories: 16,
		Rate: 1000, Rows: 200000, Lanes: 20000, UsualRows: 100000, IdleConnections: 10000,
		PassConnections: 32, HoldConnections: 64, CopyConnections: 256, ReplayConnections: 8,
		Progress: func(string) {},
	}
}

// Quick makes the settings those of a run of some two minutes, whose figures are
// good for finding a large change only.
func (c *Config) Quick() {
	c.Rounds, c.Turn, c.Held = 2, 500*time.Millisecond, 1000
	c.Rows, c.Lanes, c.UsualRows = 10000, 1000, 5000
	c.IdleConnections = 2000
}

// kind is a part of the bench.
type kind struct {
	name    string
	prepare func(context.Context, *stage) (section, error)
	rounds  int // at most, because each takes long; 0 for any number
}

var kinds = []kind{
	{"pass", func(ctx context.Context, s *stage) (section, error) { return s.newPass(ctx) }, 0},
	{"rate", func(ctx context.Context, s *stage) (section, error) { return s.newRate(ctx) }, 0},
	{"hold", func(ctx context.Context, s *stage) (section, error) { return s.newHold(ctx) }, 0},
	{"replay", func(ctx context.Context, s *stage) (section, error) { return s.newReplay(ctx) }, 0},
	{"disk", func(ctx context.Context, s *stage) (section, error) { return s.newDisk(ctx) }, 0},
	{"lanes", func(ctx context.Context, s *stage) (section, error) { return s.newLanes(ctx) }, 3},
	{"idle", func(ctx context.Context, s *stage) (section, error) { return s.newIdle(ctx) }, 3},
	{"rolled", func(ctx context.Context, s *stage) (section, error) { return s.newRolled(ctx) }, 3},
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
			most := chosen[i].rounds
			if most > 0 && n >= most {
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
		"rounds": c.Rounds, "held": c.Held, "repositories": c.Repositories, "rate": c.Rate,
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
