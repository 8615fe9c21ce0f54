package buffer

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

const deadAfter = 15 * time.Second // deadSQL in Go

// Peer is another living replica.
type Peer struct {
	Instance, Name, State string
	Strict                bool
	Seq                   int64         // rises with each process that joins
	SeenSeq               int64         // what it said it had seen of the others
	Age                   time.Duration // since its last heartbeat, by the database's clock
}

// joinLock is an arbitrary constant known to every version. A sequence number is
// drawn under it and visible to all before the next one is: whoever sees a number
// also sees every lower one, on which ORDER=strict relies. Without it a number
// could become visible after a higher one, whose holder would go on as if it were
// alone.
const joinLock = `pg_advisory_xact_lock(1364283)`

// A row stays known as stopped or dead for a day, for whoever looks.
const joinSQL = `
WITH older AS (
	SELECT id FROM webhook_replicas WHERE name = $2 AND name <> '' AND id <> $1
		AND started_at <= COALESCE((SELECT started_at FROM webhook_replicas WHERE id = $1), 'infinity')
), dead AS (
	UPDATE webhook_replicas r SET state = 'dead'
	FROM older WHERE r.id = older.id AND r.state NOT IN ('stopped', 'dead')
), freed AS (
	UPDATE webhook_leases l SET expires_at = '-infinity'
	FROM older WHERE l.holder = older.id
), orphans AS (
	UPDATE webhook_queue q SET status = 'pending', awaited_by = NULL, claim_epoch = NULL,
		last_error = 'the replica that awaited the answer died'
	FROM older WHERE q.awaited_by = older.id AND q.` + active + ` AND q.awaited_by IS NOT NULL
)
INSERT INTO webhook_replicas AS r (id, name, state, strict, seq, key_ids)
SELECT $1, $2, $3, $4, nextval('webhook_replica_seq'), $5 FROM (SELECT ` + joinLock + `) AS locked
ON CONFLICT (id) DO UPDATE SET seq = EXCLUDED.seq, seen_at = clock_timestamp(),
	state = EXCLUDED.state, strict = EXCLUDED.strict, key_ids = EXCLUDED.key_ids
RETURNING seq, seen_at`

// Join makes this process known with a new sequence number, also one that has
// joined before. Earlier processes of the same name are dead by that: their
// leases have lapsed and what they awaited is pending.
func (s *Store) Join(ctx context.Context, state string) error {
	return s.do(ctx, s.vital, vitalTimeout, "join replicas", func(ctx context.Context, c *pgxpool.Conn) error {
		var seq int64
		var seen time.Time
		err := c.QueryRow(ctx, joinSQL, s.instance, s.config.Name, state, s.config.Strict, s.sealer.ids()).Scan(&seq, &seen)
		if err != nil {
			return err
		}
		s.seq.Store(seq)
		s.sawAt(seen)
		return nil
	})
}

// Seq returns this process's sequence number, 0 before it has joined.
func (s *Store) Seq() int64 { return s.seq.Load() }

// The others' rows are read as of the statement's begin, which may have waited
// for its own row since: so their ages are taken at the begin too (now()), or
// living ones would seem to be silent.
const beatSQL = `
WITH me AS (
	INSERT INTO webhook_replicas AS r (id, name, state, strict, seq, seen_seq, key_ids, breaker_open)
	SELECT $1, $2, $3, $4, nextval('webhook_replica_seq'), $5, $7, $8
	FROM (SELECT CASE WHEN NOT EXISTS (SELECT FROM webhook_replicas WHERE id = $1) THEN ` + joinLock + `::text END) AS locked
	ON CONFLICT (id) DO UPDATE SET seen_at = clock_timestamp(), state = EXCLUDED.state,
		seen_seq = EXCLUDED.seen_seq, key_ids = EXCLUDED.key_ids, breaker_open = EXCLUDED.breaker_open
	RETURNING seq, seen_at
), dead AS (
	UPDATE webhook_replicas SET state = 'dead'
	WHERE $6 AND id <> $1 AND state NOT IN ('stopped', 'dead') AND seen_at < clock_timestamp() - ` + deadSQL + `
), forgotten AS (
	DELETE FROM webhook_replicas
	WHERE id <> $1 AND state IN ('stopped', 'dead') AND seen_at < clock_timestamp() - interval '1 day'
), orphans AS (
	UPDATE webhook_queue q SET status = 'pending', awaited_by = NULL, claim_epoch = NULL,
		last_error = 'the replica that awaited the answer died'
	WHERE $6 AND q.` + active + ` AND q.awaited_by IS NOT NULL AND q.awaited_by <> $1
		AND NOT EXISTS (
			SELECT 1 FROM webhook_replicas r
			WHERE r.id = q.awaited_by AND r.state NOT IN ('stopped', 'dead')
				AND r.seen_at >= clock_timestamp() - ` + deadSQL + `)
)
SELECT me.seq, me.seen_at, COALESCE(r.id::text, ''), COALESCE(r.name, ''), COALESCE(r.state, ''), COALESCE(r.strict, false),
	COALESCE(r.seq, 0), COALESCE(r.seen_seq, 0),
	COALESCE(extract(epoch FROM now() - r.seen_at), 0)::float8
FROM me LEFT JOIN webhook_replicas r ON r.id <> $1 AND r.state NOT IN ('stopped', 'dead')
	AND (NOT $6 OR r.seen_at >= clock_timestamp() - ` + deadSQL + `)
ORDER BY r.seq`

// Presence is what a replica says of itself with a heartbeat.
type Presence struct {
	State       string
	SeenSeq     int64 // the highest sequence number of another that it has seen
	BreakerOpen bool  // its app accepts nothing: others should have its leases
}

// Beat says that this replica lives and returns the other living ones, and the
// gap: the time between this heartbeat, or Join, and the last one that was
// answered, by the database's clock. The others may have taken this replica for
// gone in a long gap, however regular its heartbeats were when they set out.
// Who was silent for 15 s is dead: what it awaited becomes pending. Call it every
// 5 s. After a silence of its own, when the database was away for everybody, a
// replica judges nobody until the others have had time to be heard.
func (s *Store) Beat(ctx context.Context, p Presence) (peers []Peer, gap time.Duration, err error) {
	judge := s.mayJudge()
	var seen time.Time
	err = s.do(ctx, s.vital, vitalTimeout, "beat", func(ctx context.Context, c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, beatSQL, s.instance, s.config.Name, p.State, s.config.Strict, p.SeenSeq, judge,
			s.sealer.ids(), p.BreakerOpen)
		if err != nil {
			return err
		}
		peers = nil
		var seq int64
		var p Peer
		var age float64
		_, err = pgx.ForEachRow(rows, []any{&seq, &seen, &p.Instance, &p.Name, &p.State, &p.Strict, &p.Seq, &p.SeenSeq, &age}, func() error {
			s.seq.Store(seq)
			if p.Instance != "" {
				p.Age = time.Duration(age * float64(time.Second))
				peers = append(peers, p)
			}
			return nil
		})
		return err
	})
	if err != nil {
		return nil, 0, err
	}
	s.lastBeat.Store(int64(time.Since(s.opened)))
	return peers, s.sawAt(seen), nil
}

// sawAt notes when the database saw this replica and returns how long that was
// after the time before.
func (s *Store) sawAt(seen time.Time) (gap time.Duration) {
	if before := s.seen.Swap(&seen); before != nil {
		gap = seen.Sub(*before)
	}
	return gap
}

// mayJudge is false for deadAfter after a silence of this replica.
func (s *Store) mayJudge() bool {
	now := int64(time.Since(s.opened))
	if last := s.lastBeat.Load(); last > 0 && now-last > int64(deadAfter) {
		s.noJudge.Store(now + int64(deadAfter))
	}
	return now >= s.noJudge.Load()
}

const leaveSQL = `
WITH orphans AS (
	UPDATE webhook_queue q SET status = 'pending', awaited_by = NULL, claim_epoch = NULL
	WHERE q.` + active + ` AND q.awaited_by IS NOT NULL AND q.awaited_by = $1
)
UPDATE webhook_replicas SET state = 'stopped', seen_at = clock_timestamp() WHERE id = $1`

// Leave releases this replica's leases, gives up the answers it still awaits and
// says that it has stopped.
func (s *Store) Leave(ctx context.Context) error {
	if err := s.ReleaseLeases(ctx, nil); err != nil {
		return err
	}
	return s.do(ctx, s.vital, vitalTimeout, "leave replicas", func(ctx context.Context, c *pgxpool.Conn) error {
		_, err := c.Exec(ctx, leaveSQL, s.instance)
		return err
	})
}
