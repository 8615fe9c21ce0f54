package buffer

import (
	"cmp"
	"slices"
	"sync"
)

// A claim walks over the lanes of the held buckets, one of each bucket in turn,
// and reads the lowest active rows of each. It ends once it has met enough rows,
// and the next one goes on behind the lane at which it ended, so that a claim
// costs the same whether there are ten lanes or a hundred thousand. Where a walk
// began at the beginnings and saw every lane, the oldest rows are taken; else
// those of the lanes in the order of the walk, so that each lane has its turn.
//
// The place at which a walk goes on is a position among lanes, never an id: ids
// commit out of order, and a row that commits late, or that an operator makes
// pending again, has to be found. A lane is always read from its lowest active
// id (l.head, found in the same snapshot, spares a second way over the dead index
// entries of rows that are done).
//
// Each lane costs one index probe, so neither a long backlog nor a skipped lane
// of any length is read through; a lane without rows to give counts as a row, so
// that a crowd of skipped lanes does not make the walk long. Nothing behind an
// awaited row of its lane is picked. The lease is checked by the statement itself:
// a claim that arrives late takes nothing. The rows in hand and the lanes to skip
// are asked for as subqueries, which are hashed once: an array that is a parameter
// is searched from end to end for each row. Rows are fetched by their place, in
// the snapshot in which it was found, whatever the planner believes of their
// number.
const claimSQL = `
WITH RECURSIVE held AS MATERIALIZED (
	SELECT l.bucket, l.epoch, w.after COLLATE "C" AS after FROM webhook_leases l
	JOIN unnest($1::smallint[], $2::bigint[], $3::text[]) WITH ORDINALITY AS w(bucket, epoch, after, turn)
		ON w.bucket = l.bucket AND w.epoch = l.epoch
	WHERE l.holder = $4 AND l.expires_at > clock_timestamp()
	ORDER BY w.turn
), lanes AS (
	SELECT h.bucket, h.epoch, f.lane, f.head, f.begins FROM held h CROSS JOIN LATERAL (
		(SELECT q.lane, q.id AS head, false AS begins FROM webhook_queue q
		WHERE q.bucket = h.bucket AND q.lane > h.after AND q.` + active + `
		ORDER BY q.lane, q.id LIMIT 1)
		UNION ALL
		(SELECT q.lane, q.id, true FROM webhook_queue q
		WHERE q.bucket = h.bucket AND q.` + active + `
		ORDER BY q.lane, q.id LIMIT 1)
		LIMIT 1) AS f
	UNION ALL
	SELECT l.bucket, l.epoch, n.lane, n.head, l.begins FROM lanes l CROSS JOIN LATERAL (
		SELECT q.lane, q.id AS head FROM webhook_queue q
		WHERE q.bucket = l.bucket AND q.lane > l.lane AND q.` + active + `
		ORDER BY q.lane, q.id LIMIT 1) AS n
), walked AS MATERIALIZED (
	SELECT row_number() OVER () AS n, v.* FROM (
		SELECT l.bucket, l.epoch, l.lane, l.begins, r.id, r.place, r.size FROM lanes l
		CROSS JOIN LATERAL (SELECT COALESCE((
			SELECT a.id FROM webhook_queue a
			WHERE a.bucket = l.bucket AND a.lane = l.lane AND a.` + active + ` AND a.awaited_by IS NOT NULL
			ORDER BY a.id LIMIT 1), 9223372036854775807) AS id) AS awaited
		LEFT JOIN LATERAL (
			SELECT q.id, q.ctid AS place, CASE WHEN q.body_size <= $11 THEN q.body_size ELSE 0 END AS size
			FROM webhook_queue q
			WHERE q.bucket = l.bucket AND q.lane = l.lane AND q.id >= l.head AND q.id < awaited.id AND q.` + active + `
				AND q.id NOT IN (SELECT unnest($6::bigint[])) AND l.lane NOT IN (SELECT unnest($5::text[]))
			ORDER BY q.id LIMIT $8) AS r ON true
		LIMIT $10) AS v
), walk AS MATERIALIZED (
	SELECT count(*) >= $10 AS broken_off, count(*) < $10 AND bool_and(begins) AS whole, count(id) AS rows, max(n) AS n FROM walked
), picked AS MATERIALIZED (
	SELECT * FROM (
		SELECT w.*, sum(w.size) OVER o AS bytes, row_number() OVER o AS turn FROM walked w, walk
		WHERE w.id IS NOT NULL WINDOW o AS (ORDER BY CASE WHEN walk.whole THEN 0 ELSE w.n END, w.id)
	) AS h WHERE (bytes <= $9 OR turn = 1) AND turn <= $7
), reached AS MATERIALIZED (
	SELECT walk.whole, walk.broken_off OR p.rows < walk.rows AS cut, CASE WHEN p.rows < walk.rows THEN p.n ELSE walk.n END AS n
	FROM walk, (SELECT count(*) AS rows, max(n) AS n FROM picked) AS p
), ends AS (
	SELECT DISTINCT ON (w.bucket) w.bucket, w.lane FROM walked w, reached
	WHERE w.n <= reached.n ORDER BY w.bucket, w.n DESC
), told AS MATERIALIZED (
	SELECT COALESCE(r.whole, true) AS whole, r.cut, COALESCE((SELECT w.bucket FROM walked w WHERE w.n = r.n), 0) AS last,
		(SELECT array_agg(bucket ORDER BY bucket) FROM ends) AS buckets, (SELECT array_agg(lane ORDER BY bucket) FROM ends) AS lanes
	FROM reached r
)
SELECT t.whole, t.cut, t.last, CASE WHEN COALESCE(p.turn, 1) = 1 THEN t.buckets END, CASE WHEN COALESCE(p.turn, 1) = 1 THEN t.lanes END,
	q.id, q.attempts + 1, q.bucket, p.epoch, q.body_size, q.key_id,
	q.sluice_id, q.source, COALESCE(q.delivery_id, ''), COALESCE(q.event_name, ''), q.lane,
	COALESCE(q.verified, ''), q.received_at, q.headers,
	CASE WHEN q.body_size <= $11 THEN q.body END, q.body IS NULL
FROM told t LEFT JOIN picked p ON true
LEFT JOIN LATERAL (SELECT * FROM webhook_queue q WHERE q.ctid = p.place OFFSET 0) AS q ON true`

// walk remembers where the claims of this process go on.
type walk struct {
	mu     sync.Mutex
	places map[int16]place
	last   int16 // the bucket that had its turn last
}

// place is the lane behind which a bucket's walk goes on.
type place struct {
	epoch int64 // of the lease: a new one begins at the beginning
	lane  string
}

// step is what a claim tells of its walk.
type step struct {
	whole   bool // it saw every lane, from the beginning
	cut     bool // it has left something out
	last    int16
	buckets []int16
	lanes   []string // where it has come to in each of these buckets
}

// plan puts the leases into the order of their turns and says behind which lane
// the walk goes on in each, nil for the beginning.
func (w *walk) plan(leases []Lease) (in []int16, epochs []int64, after []*string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	leases = slices.Clone(leases)
	turn := func(l Lease) int { return (l.Bucket - int(w.last) - 1 + buckets) % buckets }
	slices.SortFunc(leases, func(a, b Lease) int { return cmp.Compare(turn(a), turn(b)) })
	for _, l := range leases {
		var lane *string
		if p, ok := w.places[int16(l.Bucket)]; ok && p.epoch == l.Epoch {
			lane = &p.lane
		}
		in, epochs, after = append(in, int16(l.Bucket)), append(epochs, l.Epoch), append(after, lane)
	}
	return in, epochs, after
}

// goOn notes how far the claim has come.
func (w *walk) goOn(in []int16, epochs []int64, s step) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !s.cut || s.whole { // each bucket's end was seen, or the oldest rows go first
		w.places = nil
		return
	}
	if w.places == nil {
		w.places = make(map[int16]place, buckets)
	}
	w.last = s.last
	for i, b := range s.buckets {
		w.places[b] = place{epochs[slices.Index(in, b)], s.lanes[i]}
	}
}
