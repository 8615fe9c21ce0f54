package chaos

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"sluice/infra/rehearsal/sender"
)

const (
	backlogPoll  = 250 * time.Millisecond
	backlogLimit = 10 * time.Minute // in all, even with progress
	probeLimit   = 30 * time.Second // for a lane to open
	// quietLimit is for the replicas to report that nothing is left. A replica
	// spends a twentieth of its time on counting the queue, so on a busy machine
	// its count can be old.
	quietLimit = 150 * time.Second
	quiet      = 3 * time.Second // before memory and goroutines are measured
	probePause = 100 * time.Millisecond
)

// awaitDelivery waits until every stored row is delivered. It returns false when
// SettleLimit passes without progress.
func (s *stage) awaitDelivery(ctx context.Context) bool {
	s.log.Add("chaos", "faults are over, waits until the queue is empty")
	last := int64(-1)
	var problem error
	for begun, moved := time.Now(), time.Now(); time.Since(moved) < s.config.SettleLimit && time.Since(begun) < backlogLimit; {
		var rows int64
		if rows, problem = s.active(ctx); problem == nil {
			s.progress(fmt.Sprintf("waiting for %d held rows", rows))
			if rows == 0 {
				s.log.Add("chaos", "the queue is empty")
				return true
			}
			if rows != last {
				last, moved = rows, time.Now()
			}
		}
		if !sender.Pause(ctx, backlogPoll) {
			return false
		}
	}
	s.stuck(ctx, 0, fmt.Sprintf("the backlog does not empty: %d rows are left, no progress for %s (%v)", last, s.config.SettleLimit, problem))
	return false
}

func (s *stage) active(ctx context.Context) (rows int64, err error) {
	err = s.query(ctx, func(ctx context.Context, c *pgx.Conn) error {
		return c.QueryRow(ctx, "SELECT count(*) FROM webhook_queue WHERE status IN ('pending', 'processing')").Scan(&rows)
	})
	return rows, err
}

// query runs ask on the run's database. It bypasses the wires.
func (s *stage) query(ctx context.Context, ask func(context.Context, *pgx.Conn) error) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.database)
	if err != nil {
		return fmt.Errorf("connect to database: %w", err)
	}
	defer conn.Close(ctx)
	if err := ask(ctx, conn); err != nil {
		return fmt.Errorf("ask database: %w", err)
	}
	return nil
}

// probeLanes sends a last webhook in each lane to each replica, to show that every
// lane is open. It must be forwarded; with ORDER=strict and several replicas it
// must be acknowledged.
func (s *stage) probeLanes(ctx context.Context) {
	var work sync.WaitGroup
	nodes := s.serving(false)
	for i, n := range nodes {
		held := s.config.Order == "strict" && len(nodes) > 1
		work.Go(func() {
			for j, l := range s.load.lanes {
				if !s.probeLane(ctx, n, l, "end-"+strconv.Itoa(i)+"-"+strconv.Itoa(j), held) {
					return // the other lanes would take as long
				}
			}
		})
	}
	work.Wait()
}

// probeLane sends webhooks in one lane until one is forwarded, or acknowledged
// when held is true, and reports whether that happened.
func (s *stage) probeLane(ctx context.Context, n *node, l lane, id string, held bool) bool {
	var webhooks []sender.Webhook
	defer func() { s.load.record(webhooks) }()
	var last sender.Try
	for begun, i := time.Now(), 0; time.Since(begun) < probeLimit; i++ {
		w, q := compose(l, id+"-"+strconv.Itoa(i), wish{bytes: s.config.Bytes})
		s.load.sent.Add(1)
		last, _ = s.load.try(n.Name, n.links[BalancerWire].relay.Addr(), q)
		s.load.count(last)
		w.Tries = append(w.Tries, last)
		webhooks = append(webhooks, w)
		if last.Acknowledged() && (held || !last.Held) {
			return true
		}
		if !sender.Pause(ctx, probePause) {
			return false
		}
	}
	s.problem("lane %s stays shut at %s: the last answer was %d, held %v %s", l.name(), n.Name, last.Status, last.Held, last.Err)
	return false
}

// awaitRest waits until every replica reports that it has nothing left.
func (s *stage) awaitRest(ctx context.Context) {
	for _, n := range s.serving(false) {
		var st status
		var err error
		done := false
		for begun := time.Now(); !done && time.Since(begun) < quietLimit && sender.Pause(ctx, backlogPoll); {
			st, err = askStatus(ctx, n)
			done = err == nil && st.State == "passing" && st.Held == 0 && st.Shut == 0 && st.Forced == 0 && st.InFlight == 0 && st.Holding == 0
			done = done || err == nil && s.config.Order == "strict" && st.Held == 0 && st.Shut == 0 && st.InFlight == 0 && st.Holding == 0
		}
		if !done && ctx.Err() == nil {
			s.problem("%s is not at rest: %+v %v", n.Name, st, err)
		}
	}
}
