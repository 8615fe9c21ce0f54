package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"sluice/infra/bench/load"
	"sluice/infra/bench/standin"
)

// lanes compares how a long backlog is replayed with how a usual one is, to an app
// that answers at once.
type lanes struct {
	stage    *stage
	backlogs []backlog
}

type backlog struct {
	name        string
	rows, lanes int
}

const (
	sectionLanes = "Backlogs replayed to an app that answers at once"
	usualLanes   = 16
	buckets      = 16 // any bucket does, as long as a lane has one only
	laneEach     = 20 * time.Millisecond
	laneLimit    = 5 * time.Minute
	reportEvery  = 2 * time.Second
)

// fillLanesSQL copies the one row that is there. Each lane gets one row in turn.
const fillLanesSQL = `
INSERT INTO webhook_queue (sluice_id, source, event_name, lane, bucket, headers, body, body_size, verified)
SELECT gen_random_uuid(), source, event_name, source || '/lane-' || n %% %[2]d, n %% %[2]d %% %[3]d, headers, body, body_size, verified
FROM (SELECT * FROM webhook_queue LIMIT 1) AS w, generate_series(1, %[1]d - 1) AS n ORDER BY n`

func (s *stage) newLanes(context.Context) (*lanes, error) {
	one := max(1, s.config.UsualRows/10) // one at a time takes longer
	return &lanes{stage: s, backlogs: []backlog{
		{fmt.Sprintf("%d rows in %d lanes", s.config.UsualRows, usualLanes), s.config.UsualRows, usualLanes},
		{fmt.Sprintf("%d rows in %d lanes, long", s.config.Rows, s.config.Lanes), s.config.Rows, s.config.Lanes},
		{fmt.Sprintf("%d rows in one lane", one), one, 1},
	}}, nil
}

func (l *lanes) round(ctx context.Context, number int, r *Report) error {
	// The row that the others are compared with is the report's first.
	for _, b := range l.backlogs {
		r.add(sectionLanes, b.name, number, Figures{})
	}
	var turns []func() error
	for _, b := range l.backlogs {
		turns = append(turns, func() error {
			f, err := l.replay(ctx, b)
			if err != nil {
				return fmt.Errorf("%s: %w", b.name, err)
			}
			r.add(sectionLanes, b.name, number, f)
			return nil
		})
	}
	return inTurn(number, turns...)
}

// replay fills a queue of its own, starts the app and waits until it has all.
func (l *lanes) replay(ctx context.Context, b backlog) (Figures, error) {
	app, err := freeAddr()
	if err != nil {
		return Figures{}, err
	}
	sc, err := l.stage.startSidecar(ctx, app, "GITHUB_WEBHOOK_SECRET="+load.Secret)
	if err != nil {
		return Figures{}, err
	}
	defer func() { _ = sc.Stop(stopLimit) }() // the stage stops it again, and says what is wrong
	if err := l.fill(ctx, sc, b); err != nil {
		return Figures{}, err
	}
	proc, err := l.stage.start(l.stage.config.Self, l.stage.config.StandInApp(app), nil)
	if err != nil {
		return Figures{}, err
	}
	meters := []load.Meter{l.stage.databaseCPU, sc.CPU}
	before, err := load.Read(meters)
	if err != nil {
		return Figures{}, err
	}
	took, err := l.await(ctx, app, b)
	if err != nil {
		return Figures{}, err
	}
	after, err := load.Read(meters)
	if err != nil {
		return Figures{}, err
	}
	return Figures{Rate: float64(b.rows) / took.Seconds(),
		DatabaseCPU: each(after[0]-before[0], b.rows), CPU: each(after[1]-before[1], b.rows)}, proc.Kill()
}

func (l *lanes) fill(ctx context.Context, sc *sidecar, b backlog) error {
	l.stage.config.Progress("filling " + b.name)
	if _, err := load.Post(ctx, load.Spec{Count: 1},
		load.Target{Addr: sc.addr, Connections: 1, Requests: load.GitHub(1, l.stage.config.Bytes)}); err != nil {
		return err
	}
	conn, err := l.stage.connect(ctx, sc.database)
	if err != nil {
		return err
	}
	for _, sql := range []string{fmt.Sprintf(fillLanesSQL, b.rows, b.lanes, buckets), "VACUUM (ANALYZE) webhook_queue", "CHECKPOINT"} {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return fmt.Errorf("fill queue: %w", err)
		}
	}
	return nil
}

// await waits until the app has them all, and returns the time from the first to
// the last.
func (l *lanes) await(ctx context.Context, app string, b backlog) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, laneLimit+time.Duration(b.rows)*laneEach)
	defer cancel()
	tick := time.NewTicker(receivedPoll)
	defer tick.Stop()
	said := time.Now()
	for {
		var got standin.Stats
		text, err := get(ctx, "http://"+app+standin.StatsPath)
		if err == nil {
			err = json.Unmarshal([]byte(text), &got)
		}
		if err == nil && got.Webhooks >= int64(b.rows) {
			if got.Webhooks > int64(b.rows) {
				return 0, fmt.Errorf("%d webhooks held and %d delivered", b.rows, got.Webhooks)
			}
			return time.Duration(got.Last - got.First), nil
		}
		if time.Since(said) > reportEvery {
			said = time.Now()
			l.stage.config.Progress(fmt.Sprintf("replayed %d of %s", got.Webhooks, b.name))
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return 0, fmt.Errorf("replay: %d of %d webhooks delivered: %w", got.Webhooks, b.rows, ctx.Err())
		}
	}
}
