package buffer

import (
	"sync"
	"time"

	"github.com/google/uuid"
	"sluice/sidecar/internal/webhook"
)

const (
	maxBatchRows  = 256
	maxBatchBytes = 1 << 20
	bigBody       = 256 << 10 // beyond it a body is written alone and read in slices
	maxAlone      = 1         // committers that may be busy with single rows; the others serve batches

	// While a commit is under way the next batch gathers until it is worth a
	// connection of its own, or the commit turns out to be slow. Small batches
	// side by side cost the server twice as much a row.
	worthRows  = 24
	worthBytes = 256 << 10
	slowCommit = 20 * time.Millisecond
)

type dedupeKey [32]byte

// entry is one append on its way to a commit.
type entry struct {
	webhook          *webhook.Webhook
	id               uuid.UUID
	key              dedupeKey
	lane             string
	bucket           int16
	head, body, seal []byte // as stored, and the key's id
	awaited          bool
	size             int
	deadline         time.Time
	grace            time.Duration // what a big body may take longer

	copies []*entry // of the same delivery, in the same batch
	done   chan answer
}

type answer struct {
	receipt Receipt
	err     error
}

func (e *entry) alone() bool { return e.size > bigBody }

// attempts is how often the app has been sent it: once at least when its answer
// is awaited.
func (e *entry) attempts() int {
	if e.awaited {
		return max(e.webhook.Attempts, 1)
	}
	return e.webhook.Attempts
}

// queue gathers appends while a commit is under way: the committer that comes
// back takes all that has gathered, so batches grow with the load, and no timer
// delays an append when nothing is being committed.
type queue struct {
	mu     sync.Mutex
	ready  sync.Cond
	queued []*entry
	// busy holds the leader of each key being committed. A second copy waits
	// for its end: two batches with two common keys would deadlock.
	busy       map[dedupeKey]*entry
	size       int // bytes queued
	committing int // batches under way, those of single rows not counted
	alone      int // single rows under way
	began      time.Time
	slow       *time.Timer // wakes a committer when the commit under way is slow
	closed     bool
}

func newQueue() *queue {
	q := &queue{busy: make(map[dedupeKey]*entry)}
	q.ready.L = &q.mu
	q.slow = time.AfterFunc(0, q.ready.Broadcast)
	return q
}

func (q *queue) put(e *entry) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return false
	}
	q.queued = append(q.queued, e)
	q.size += e.size
	if q.due() {
		q.ready.Signal()
	} else if len(q.queued) == 1 {
		q.slow.Reset(slowCommit)
	}
	return true
}

// due reports whether what is queued should be committed now.
func (q *queue) due() bool {
	return q.committing == 0 || len(q.queued) >= worthRows || q.size >= worthBytes ||
		time.Since(q.began) >= slowCommit
}

// withdraw reports whether e was still queued. If it was not, a committer reads
// its body, and its owner must wait for the answer.
func (q *queue) withdraw(e *entry) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i, other := range q.queued {
		if other == e {
			q.queued = append(q.queued[:i], q.queued[i+1:]...)
			q.size -= e.size
			return true
		}
	}
	return false
}

// take waits for entries and returns the next batch, in order of arrival; nil
// once the queue is closed.
func (q *queue) take() []*entry {
	q.mu.Lock()
	defer q.mu.Unlock()
	for !q.closed {
		if len(q.queued) > 0 && q.due() {
			if batch := q.pick(); len(batch) > 0 {
				return batch
			}
		}
		q.ready.Wait()
	}
	return nil
}

func (q *queue) pick() []*entry {
	var batch []*entry
	mine := make(map[dedupeKey]bool, min(len(q.queued), maxBatchRows))
	size, left, full := 0, q.queued[:0], false
	for _, e := range q.queued {
		switch leader, busy := q.busy[e.key]; {
		case busy && mine[e.key] && !e.awaited && !leader.awaited:
			leader.copies = append(leader.copies, e)
			continue
		case full, busy:
			left = append(left, e)
			continue
		case e.alone() && (len(batch) > 0 || q.alone >= maxAlone):
			left = append(left, e)
			continue
		case len(batch) > 0 && size+e.size > maxBatchBytes:
			full = true
			left = append(left, e)
			continue
		}
		batch = append(batch, e)
		q.busy[e.key], mine[e.key] = e, true
		size += e.size
		if e.alone() {
			q.alone++
			full = true
		}
		full = full || len(batch) == maxBatchRows
	}
	clear(q.queued[len(left):])
	q.queued, q.size = left, 0
	for _, e := range left {
		q.size += e.size
	}
	if len(batch) > 0 && !batch[0].alone() {
		q.committing++
		q.began = time.Now()
	}
	if len(left) > 0 {
		q.slow.Reset(slowCommit)
	}
	return batch
}

// finish lets go of a batch's keys.
func (q *queue) finish(batch []*entry) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if batch[0].alone() {
		q.alone--
	} else {
		q.committing--
	}
	for _, e := range batch {
		delete(q.busy, e.key)
	}
	if len(q.queued) > 0 {
		q.ready.Broadcast()
	}
}

// close ends take and answers all that is queued.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.slow.Stop()
	for _, e := range q.queued {
		e.done <- answer{err: unavailable("append webhook", errClosed)}
	}
	q.queued = nil
	q.ready.Broadcast()
}
