package chaos

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Config says how long a run takes, how many faults it has and which programs it
// runs. Start from Defaults.
type Config struct {
	For   time.Duration // how long faults happen and webhooks are sent
	Seed  uint64        // of the plan and of what is sent
	Order string        // ORDER of the sidecars: "lane" or "strict"
	Every time.Duration // mean pause between two faults

	Rate    int // webhooks a second, as far as the replicas keep up
	Lanes   int // for each of the two sources
	PerLane int // sequential senders for each lane
	Bytes   int // of an ordinary body

	Sidecar string // the binary
	Old     string // the binary of the previous version, "" for none
	// Receiver is the command that runs package receiver as a process with the
	// options in its environment (AddrVar and so on).
	Receiver []string

	SettleLimit time.Duration // at the end, without progress
	// Dir receives a directory for the run, with the logs of its processes.
	// KeepLogs leaves that of a good run there, too.
	Dir      string
	KeepLogs bool
	// Progress receives a line each second while the run goes on; nil for none.
	Progress func(line string)
}

// Variables in which a receiver process finds its options.
const (
	AddrVar    = "CHAOS_ADDR"
	RecordsVar = "CHAOS_RECORDS"
	ReplicaVar = "CHAOS_REPLICA"
)

// Defaults returns a run of ten minutes.
func Defaults() Config {
	return Config{
		For: 10 * time.Minute, Order: "lane", Every: 1500 * time.Millisecond,
		Rate: 800, Lanes: 16, PerLane: 2, Bytes: 1024, SettleLimit: time.Minute,
	}
}

func (c *Config) check() error {
	var problems []error
	must := func(ok bool, format string, args ...any) {
		if !ok {
			problems = append(problems, fmt.Errorf(format, args...))
		}
	}
	must(c.For >= 3*calm, "%s is too short, it must be at least %s", c.For, 3*calm)
	must(slices.Contains([]string{"lane", "strict"}, c.Order), "order %q must be lane or strict", c.Order)
	must(c.Every > 0, "mean pause %s must be positive", c.Every)
	must(c.Rate > 0, "rate %d must be positive", c.Rate)
	must(c.Lanes > 0, "lanes %d must be positive", c.Lanes)
	must(c.PerLane > 0, "senders %d must be positive", c.PerLane)
	must(c.Bytes >= 256, "bytes %d must be at least 256", c.Bytes)
	must(c.Sidecar != "" && len(c.Receiver) > 0, "the programs are missing")
	return errors.Join(problems...)
}
