package rehearsal

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// showProgress reports once a second until the returned function is called.
func (s *stage) showProgress() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			c := s.fleet.Ledger.Count()
			s.progress(fmt.Sprintf("sent %d, acknowledged %d (%d held), refused %d | %s",
				c.Sent, c.Acknowledged, c.Held, c.Refused, describe(s.log.Now())))
			pause(ctx, time.Second)
		}
	}()
	return func() { cancel(); <-done }
}

func describe(states map[string]string) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(states)) {
		parts = append(parts, name+" "+states[name])
	}
	return strings.Join(parts, ", ")
}

func (s *stage) progress(line string) {
	if s.config.Progress != nil {
		s.config.Progress(fmt.Sprintf("%-13s %5.1fs  %s", s.config.Scenario, time.Since(s.begin).Seconds(), line))
	}
}
