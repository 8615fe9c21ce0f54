package simulate

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash/fnv"
	"sync/atomic"
	"time"

	"sluice/sidecar/internal/buffer"
)

// faults are how the way to the database and back goes wrong, as rates of the
// statements; the times are the longest.
type faults struct {
	lostRequest, lostAnswer float64 // of either half hangs until its caller gives up, half is a broken connection
	slow                    float64 // takes up to slowest, on either side of its effect
	slowCommit              float64 // takes up to slowestCommit between an insert and its commit
	slowest, slowestCommit  time.Duration
	sluggish                op      // the one kind of statement
	sluggishRate            float64 // that takes up to sluggishFor, on either side of its effect
	sluggishFor             time.Duration
}

const slowestKind = 4900 * time.Millisecond // just less than any statement may take

// store is the buffer.Store of one replica: what that does on the client's
// side, its limits of time and its tries again, over the simulated database.
type store struct {
	db       *database
	config   buffer.Config
	instance string
	name     string   // in the timeline
	keys     []string // ids of those that it has, the one that seals first
	seed     uint64
	host     *host
	faults   func() faults
	cut      atomic.Bool // nothing reaches the database, nor comes back
	dead     atomic.Bool // the replica was killed: it sends nothing any more

	seq      atomic.Int64
	opened   time.Time
	lastBeat atomic.Int64 // nanoseconds since opened, 0 before the first
	noJudge  atomic.Int64
	seen     atomic.Pointer[time.Time] // the last time, by the database's clock
	calls    [opCount]*dice

	after string // the lane behind which the next claim goes on

	windowBegan time.Time // under the database's lock
	claims      int       // since then
}

// op is a kind of statement; each has dice of its own.
type op int

const (
	opAppend op = iota
	opClaim
	opSettle
	opLook
	opLease
	opMember
	opAwaited
	opStats
	opCount
)

func (o op) String() string {
	return [opCount]string{"appends", "claims", "settles", "looks", "leases", "heartbeats", "awaited rows", "counts"}[o]
}

func newStore(db *database, c buffer.Config, name string, seed uint64, h *host, f func() faults) *store {
	s := &store{db: db, config: c, instance: c.Instance, name: name, seed: seed, host: h, faults: f, opened: time.Now()}
	for _, key := range c.Keys {
		sum := sha256.Sum256(key)
		s.keys = append(s.keys, hex.EncodeToString(sum[:8]))
	}
	for o := range s.calls {
		s.calls[o] = newDice(seed, fmt.Sprintf("store/%s/%d", name, o))
	}
	db.mu.Lock()
	db.names[c.Instance] = name
	db.mu.Unlock()
	return s
}

// way is one direction of a round trip.
type way struct {
	lag  time.Duration
	lost bool
	hang bool // of a lost one: nobody is told
}

func (s *store) way(o op, lost float64) way {
	d, f := s.calls[o], s.faults()
	w := way{lag: d.between(100*time.Microsecond, 2*time.Millisecond), lost: d.chance(lost), hang: d.chance(0.5)}
	if d.chance(f.slow) {
		w.lag += d.between(0, f.slowest)
	}
	if o == f.sluggish && d.chance(f.sluggishRate) {
		w.lag += d.between(0, f.sluggishFor)
	}
	return w
}

// send runs one statement. Once sent it takes its way, whatever becomes of its
// caller, who may have gone when it has its effect. Each try has a result of
// its own.
func send[T any](ctx context.Context, s *store, o op, f func() (T, error)) (T, error) {
	type answer struct {
		value T
		err   error
	}
	done := make(chan answer, 1)
	out, back := s.way(o, s.faults().lostRequest), s.way(o, s.faults().lostAnswer)
	s.db.running.Go(func() {
		fail := func(err error, hang bool) {
			if !hang {
				done <- answer{err: err}
			}
		}
		s.host.wait()
		if s.dead.Load() || ctx.Err() != nil { // it was never sent
			done <- answer{err: errAway}
			return
		}
		sleep(out.lag)
		if out.lost || s.cut.Load() {
			fail(errConnection, out.hang)
			return
		}
		value, err := f()
		sleep(back.lag)
		if back.lost || s.cut.Load() || s.dead.Load() {
			fail(errConnection, back.hang && !s.dead.Load())
			return
		}
		s.host.wait()
		done <- answer{value, err}
	})
	select {
	case a := <-done:
		return a.value, a.err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}

// one runs a statement with an effect at one moment.
func one[T any](ctx context.Context, s *store, o op, f func() T) (T, error) {
	return send(ctx, s, o, func() (v T, err error) {
		err = s.db.run(func() { v = f() })
		return v, err
	})
}

const (
	queryTimeout = 5 * time.Second
	vitalTimeout = 3 * time.Second
	doTries      = 3
)

// do is the buffer's: up to three tries within limit.
func do[T any](ctx context.Context, s *store, limit time.Duration, what string, f func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var err error
	for try := range doTries {
		var v T
		if v, err = within(ctx, limit/2, f); err == nil {
			return v, nil
		}
		if waitCtx(ctx, backoff(try)) != nil {
			break
		}
	}
	var none T
	return none, fmt.Errorf("%s: %w: %w", what, buffer.ErrUnavailable, err)
}

func within[T any](ctx context.Context, limit time.Duration, f func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return f(ctx)
}

func backoff(try int) time.Duration { return 10 * time.Millisecond << min(try, 4) }

// query is do with a single statement of one moment.
func query[T any](ctx context.Context, s *store, limit time.Duration, o op, what string, f func() T) (T, error) {
	return do(ctx, s, limit, what, func(ctx context.Context) (T, error) { return one(ctx, s, o, f) })
}

type nothing struct{}

// change is query without a result.
func change(ctx context.Context, s *store, limit time.Duration, o op, what string, f func()) error {
	_, err := query(ctx, s, limit, o, what, func() nothing { f(); return nothing{} })
	return err
}

func mix(parts ...string) uint64 {
	h := fnv.New64a()
	for _, p := range parts {
		_, _ = h.Write([]byte(p)) // never fails
		_, _ = h.Write([]byte{0})
	}
	return h.Sum64()
}

func bucketOf(lane string) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(lane)) // never fails
	return int(h.Sum32() % bucketCount)
}

func (s *store) Migrate(ctx context.Context) error {
	return change(ctx, s, queryTimeout, opMember, "migrate", func() {})
}

func (s *store) Ping(ctx context.Context) error {
	return change(ctx, s, vitalTimeout, opStats, "ping database", func() {})
}

func (s *store) Stats(ctx context.Context) (buffer.Stats, error) {
	return query(ctx, s, queryTimeout, opStats, "count rows", func() (st buffer.Stats) {
		for _, r := range s.db.rows {
			switch r.status {
			case "pending":
				st.Pending++
			case "processing":
				st.Processing++
			case "failed":
				st.Failed++
			}
			if r.active() {
				st.Bytes += int64(len(r.hook.Body) + len(r.hook.Head))
			}
		}
		return st
	})
}

func (s *store) Flow() buffer.Flow { return buffer.Flow{} }

func (s *store) Inserted(ctx context.Context) (int64, error) {
	return query(ctx, s, vitalTimeout, opStats, "read sequence", func() int64 { return s.db.ids })
}

func (s *store) Retain(context.Context, time.Duration) (int64, error)       { return 0, nil }
func (s *store) RetainFailed(context.Context, time.Duration) (int64, error) { return 0, nil }

func (s *store) Close() { s.dead.Store(true) }

func (s *store) RevisionProven(context.Context, string) (bool, error) { return false, nil }
func (s *store) ProveRevision(context.Context, string) error          { return nil }
