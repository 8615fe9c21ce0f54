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
	Sections []string // of Sections(); all when empty
	Rounds   int
	Turn     time.Duration // of one contender in one round
	Held     int           // webhooks held for a replay
	Bytes    int           // size of a body
	Lanes    int           // repositories that webhooks come from
	Fresh    bool          // webhooks are held in tables that never had a row (warmup.go)

	PassConnections   int // of the sender while webhooks are passed
	HoldConnections   int // of the sender while they are held, and of the single INSERTs
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
		Rounds: 5, Turn: 1500 * time.Millisecond, Held: 4000, Bytes: 2048, Lanes: 16,
		PassConnections: 32, HoldConnections: 64, ReplayConnections: 8,
		Progress: func(string) {},
	}
}

// Sections are the names of what can be measured.
func Sections() []string { return []string{"pass", "hold", "replay"} }

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
	for _, name := range c.Sections {
		c.Progress("preparing " + name)
		one, err := s.prepare(ctx, name)
		if err != nil {
			return nil, fmt.Errorf("prepare %s: %w", name, err)
		}
		sections = append(sections, one)
	}
	for n := range c.Rounds {
		for i, one := range sections {
			c.Progress(fmt.Sprintf("round %d of %d: %s", n+1, c.Rounds, c.Sections[i]))
			if err := one.round(ctx, n, report); err != nil {
				return nil, fmt.Errorf("measure %s: %w", c.Sections[i], err)
			}
		}
	}
	report.Seconds = time.Since(report.Started).Seconds()
	report.conclude()
	return report, nil
}

func (s *stage) prepare(ctx context.Context, name string) (section, error) {
	switch name {
	case "pass":
		return s.newPass(ctx)
	case "hold":
		return s.newHold(ctx)
	default:
		return s.newReplay(ctx)
	}
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
		"rounds": c.Rounds, "held": c.Held, "lanes": c.Lanes, "pass connections": c.PassConnections,
		"hold connections": c.HoldConnections, "replay connections": c.ReplayConnections,
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
