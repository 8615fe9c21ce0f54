package chaos

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"sluice/infra/rehearsal/sender"
)

const (
	actLength = 30 * time.Second // of faults, between two rests
	// restLimit is how long delivery of the stored rows may take during a rest.
	// After 15 s of silence a replica counts as dead, and the others take over
	// its leases and the rows it awaited.
	restLimit = 45 * time.Second
	mostRests = 2 // that failed: rows that are stuck then stay stuck
)

// play sends webhooks and injects faults until the time is over, and returns how
// long it has sent. It does so in acts. After each act it rests: no fault begins
// until the rows stored so far are delivered. Only then a stuck lane shows, since
// a further fault could free it.
func (s *stage) play(ctx context.Context, plan []Step) time.Duration {
	sending, cancel := context.WithTimeout(ctx, s.config.For)
	defer cancel()
	defer s.showProgress()()
	sent := make(chan time.Duration)
	go func() {
		s.load.run(sending)
		sent <- time.Since(s.begin)
	}()
	failed := 0
	for planned := time.Duration(0); sending.Err() == nil; planned += actLength {
		first := slices.IndexFunc(plan, func(step Step) bool { return step.At >= planned })
		if first < 0 {
			first = len(plan)
		}
		s.act(ctx, sending, plan[first:], planned)
		if sending.Err() == nil && failed < mostRests && !s.rest(ctx) {
			failed++
		}
	}
	return min(<-sent, s.config.For)
}

// act does the steps of one act, each at its time, and returns when everything
// is repaired. planned is the plan's time at the beginning of the act.
func (s *stage) act(ctx, sending context.Context, plan []Step, planned time.Duration) {
	begin := time.Now()
	over, cancel := context.WithTimeout(sending, actLength)
	defer cancel()
	s.over = over.Done()
	steps := make(chan Step, len(plan))
	s.strikes.Go(func() { s.platformLoop(ctx, steps) })
	for _, step := range plan {
		if step.At >= planned+actLength || !s.last(ctx, time.Until(begin.Add(step.At-planned))) {
			break
		}
		s.done[step.Kind.String()]++
		if step.Kind == Deploy || step.Kind == Scale {
			steps <- step
			continue
		}
		s.strikes.Go(func() { s.strike(ctx, step) })
	}
	close(steps)
	<-s.over
	s.strikes.Wait()
	s.retiring.Wait()
	s.log.Add("chaos", "everything is repaired")
}

const oldestSQL = `
SELECT count(*), coalesce(min(id), 0) FROM webhook_queue
WHERE status IN ('pending', 'processing') AND queued_at < now() - make_interval(secs => $1)`

// rest waits until every row that was stored before it is delivered, and reports
// whether that happened.
func (s *stage) rest(ctx context.Context) bool {
	begin := time.Now()
	var rows, first int64
	var err error
	for time.Since(begin) < restLimit && sender.Pause(ctx, backlogPoll) {
		err = s.query(ctx, func(ctx context.Context, c *pgx.Conn) error {
			return c.QueryRow(ctx, oldestSQL, time.Since(begin).Seconds()).Scan(&rows, &first)
		})
		if err == nil && rows == 0 {
			s.log.Add("chaos", "the stored rows are delivered, %s later", short(time.Since(begin)))
			return true
		}
	}
	if ctx.Err() == nil {
		s.stuck(ctx, time.Since(begin), fmt.Sprintf("%d rows stored before a rest are not delivered %s later, the first is %d (%v)", rows, restLimit, first, err))
	}
	return false
}

const stuckSQL = `
SELECT q.id, lane, status, attempts, coalesce(delivery_id, '-'), coalesce(awaited_by::text, '-'), coalesce(r.name || ' ' || r.state, '-'),
	extract(epoch FROM now() - queued_at)::float8, coalesce(last_error, '-')
FROM (
	SELECT DISTINCT ON (lane) * FROM webhook_queue
	WHERE status IN ('pending', 'processing') AND queued_at < now() - make_interval(secs => $1) ORDER BY lane, webhook_queue.id
) q LEFT JOIN webhook_replicas r ON r.id = q.awaited_by
ORDER BY q.id LIMIT 5`

// stuck records that lanes make no progress, with the current state of the first
// row of each that is older than age.
func (s *stage) stuck(ctx context.Context, age time.Duration, what string) {
	s.problem("%s", what)
	err := s.query(ctx, func(ctx context.Context, c *pgx.Conn) error {
		rows, err := c.Query(ctx, stuckSQL, age.Seconds())
		if err != nil {
			return err
		}
		var id int64
		var attempts int
		var lane, status, delivery, awaited, replica, reason string
		var old float64
		_, err = pgx.ForEachRow(rows, []any{&id, &lane, &status, &attempts, &delivery, &awaited, &replica, &old, &reason}, func() error {
			s.problem("  head of lane %s: row %d of webhook %s, %s for %.1fs (since %.1fs), attempts %d, awaited by %s (%s), last error %q",
				lane, id, delivery, status, old, time.Since(s.begin).Seconds()-old, attempts, awaited, replica, reason)
			s.suspects = append(s.suspects, delivery)
			return nil
		})
		return err
	})
	if err != nil {
		s.problem("the stuck rows can't be read: %v", err)
	}
}
