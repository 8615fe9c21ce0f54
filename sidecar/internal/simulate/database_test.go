package simulate

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"sluice/sidecar/internal/webhook"
)

const (
	bucketCount = 16
	leaseTTL    = 15 * time.Second // by the database's clock
	deadAfter   = 15 * time.Second
)

// database is PostgreSQL as far as the buffer relies on it: a statement has its
// effect at once or not at all, ids are given at the insert and seen at the
// commit, an active row's dedupe key is unique, and the clock is its own.
type database struct {
	line     *timeline
	failed   func(name string, attempts int) // is told of a dead letter, under the lock
	tried    func(name string, attempts int, reason string)
	spinning func(replica string)

	mu       sync.Mutex
	ended    sync.Cond // an insert has committed or is rolled back
	offset   time.Duration
	away     bool
	crashes  int // an insert under way at one is rolled back
	ids      int64
	seqs     int64
	rows     []*row // committed, in order of their commit
	open     map[[32]byte]bool
	replicas map[string]*member
	leases   [bucketCount]lease
	names    map[string]string // of instances, for the timeline
	running  sync.WaitGroup

	states     map[uint64]struct{} // that have been seen, as fingerprints
	statements int
}

type row struct {
	id        int64
	hook      webhook.Webhook
	bucket    int
	key       *[32]byte // nil once it has ended
	keyID     string    // of the key that it is sealed with, "" for none
	status    string
	attempts  int
	awaitedBy string // instance, "" for none
	reason    string
}

func (r *row) active() bool { return r.status == "pending" || r.status == "processing" }

// name is what the simulator calls the webhook.
func (r *row) name() string { return r.hook.DeliveryID }

type lease struct {
	holder  string // instance, "" for nobody
	epoch   int64
	expires time.Time
	key     string // a row needs it, "" for none
}

type member struct {
	id, name, state string
	strict          bool
	breakerOpen     bool
	keys            []string
	seq, seenSeq    int64
	started, seen   time.Time
}

func (m *member) living() bool { return m.state != "stopped" && m.state != "dead" }

func newDatabase(l *timeline) *database {
	db := &database{
		line: l, open: map[[32]byte]bool{}, replicas: map[string]*member{}, names: map[string]string{},
		states: map[uint64]struct{}{},
	}
	db.ended.L = &db.mu
	return db
}

// now is the database's clock.
func (db *database) now() time.Time { return time.Now().Add(db.offset) }

var (
	errConnection = errors.New("connection lost")
	errAway       = errors.New("connection refused")
)

// run gives one statement its effect. The lock is the statement's snapshot.
func (db *database) run(f func()) error {
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.away {
		return errAway
	}
	db.statements++
	f()
	db.fingerprint()
	return nil
}

// insert keeps the webhook, or meets an active row with its key: a statement of
// two moments, since its commit takes as long as commit. The id is given in the
// first and seen by others in the second.
func (db *database) insert(fresh *row, by string, commit time.Duration) (kept *row, err error) {
	db.mu.Lock()
	defer db.mu.Unlock()
	for db.open[*fresh.key] && !db.away {
		db.ended.Wait() // another transaction has inserted the key: its end decides
	}
	if db.away {
		return nil, errAway
	}
	db.statements++
	if old := db.activeWith(*fresh.key); old != nil {
		db.line.tell("db", fresh.name(), "%s: row %d has it already", by, old.id)
		return &row{id: old.id, hook: webhook.Webhook{ID: old.hook.ID}}, nil
	}
	db.ids++
	fresh.id = db.ids
	key := *fresh.key
	db.open[key] = true
	crashes := db.crashes
	db.mu.Unlock()
	sleep(commit)
	db.mu.Lock()
	delete(db.open, key)
	db.ended.Broadcast()
	if db.crashes != crashes || db.away {
		return nil, errConnection
	}
	db.rows = append(db.rows, fresh)
	text := fresh.status
	if fresh.awaitedBy != "" {
		text = "awaited"
	}
	if len(db.rows) > 1 && db.rows[len(db.rows)-2].id > fresh.id {
		text += ", behind a higher id"
	}
	db.line.tell("db", fresh.name(), "%s: row %d is committed (%s)", by, fresh.id, text)
	db.fingerprint()
	return &row{id: fresh.id, hook: webhook.Webhook{ID: fresh.hook.ID}}, nil
}

func (db *database) awaitedBy(instance string) map[int64]string {
	rows := map[int64]string{}
	for _, r := range db.rows {
		if r.active() && r.awaitedBy == instance {
			rows[r.id] = r.hook.ID
		}
	}
	return rows
}

func (db *database) activeWith(key [32]byte) *row {
	for _, r := range db.rows {
		if r.active() && *r.key == key {
			return r
		}
	}
	return nil
}

// inOrder returns the active rows by id.
func (db *database) inOrder() []*row {
	var rows []*row
	for _, r := range db.rows {
		if r.active() {
			rows = append(rows, r)
		}
	}
	slices.SortFunc(rows, func(a, b *row) int { return int(a.id - b.id) })
	return rows
}

func (db *database) find(id int64) *row {
	for _, r := range db.rows {
		if r.id == id {
			return r
		}
	}
	return nil
}

// crash ends every transaction under way; nobody is served until it is back.
func (db *database) crash() {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.crashes++
	db.away = true
	db.ended.Broadcast()
}

func (db *database) setAway(away bool) {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.away = away
	db.ended.Broadcast()
}

func (db *database) jump(d time.Duration) {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.offset += d
}

// operator runs the runbook's UPDATE.
func (db *database) operator() {
	db.mu.Lock()
	defer db.mu.Unlock()
	for _, r := range db.rows {
		if r.status == "processing" {
			r.status = "pending"
		}
	}
}

// holds reports whether the webhook of that name is kept, whatever became of it.
func (db *database) holds(name string) bool {
	db.mu.Lock()
	defer db.mu.Unlock()
	return slices.ContainsFunc(db.rows, func(r *row) bool { return r.name() == name })
}

// left describes the active rows, and names those at the heads of their lanes.
func (db *database) left() (heads []string, text string) {
	db.mu.Lock()
	defer db.mu.Unlock()
	behind := map[string]int{}
	for _, r := range db.inOrder() {
		lane := r.hook.Lane
		if behind[lane]++; behind[lane] > 1 {
			continue
		}
		heads = append(heads, r.name())
		text += "\n    " + lane + ": " + r.name() + " is " + r.status
		if r.awaitedBy != "" {
			text += ", awaited by " + db.called(r.awaitedBy)
		}
		if l := db.leases[r.bucket]; l.holder != "" {
			text += ", leased to " + db.called(l.holder)
		}
	}
	for _, lane := range slices.Sorted(maps.Keys(behind)) {
		if n := behind[lane] - 1; n > 0 {
			text += fmt.Sprintf("\n    %s: %d rows behind it", lane, n)
		}
	}
	return heads, text
}

// called is an instance's name in the timeline.
func (db *database) called(instance string) string {
	if name := db.names[instance]; name != "" {
		return name
	}
	return instance
}

// fingerprint notes the state of the tables, times and numbers aside.
func (db *database) fingerprint() {
	var sum uint64
	for _, r := range db.rows {
		if r.active() {
			sum += mix(r.name(), r.status, db.called(r.awaitedBy)) * uint64(r.attempts+1)
		}
	}
	for b := range db.leases {
		sum += mix(db.called(db.leases[b].holder)) * uint64(b+3)
	}
	for _, m := range db.replicas {
		sum += mix(db.called(m.id), m.state)
	}
	db.states[sum] = struct{}{}
}
