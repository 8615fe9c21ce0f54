// Package operate says what operators may ask of the queue, and do to it: the words
// that the command line, the control API and the page share.
//
// It is pure: shapes, filters and the redaction of secrets, no SQL, no HTTP, no
// clock. It must never decide what becomes of a webhook by itself. buffer implements
// Operator on the tables, control serves one over HTTP and has a client that is one,
// and cmd and console use whichever they are given.
package operate

import (
	"context"
	"errors"
	"time"
)

// Operator acts on the queue of all replicas. Every method is bounded by ctx.
// Actions are idempotent: repeating one changes nothing more and reports 0.
type Operator interface {
	// List returns a page of webhooks, the newest first, and the cursor of the next
	// page, "" when there is none. It never reads bodies.
	List(ctx context.Context, f Filter, p Page) ([]Webhook, string, error)
	// Count counts what the filter selects, up to limit.
	Count(ctx context.Context, f Filter, limit int) (int, error)
	// Show returns one webhook with its head and body, unsealed where this program
	// has the key, and its attempts. by is put on record.
	Show(ctx context.Context, id int64, by Actor) (Detail, error)

	// Retry makes failed webhooks pending again, in their old place.
	Retry(ctx context.Context, f Filter, by Actor) (int, error)
	// Drop completes pending and failed webhooks without sending them; the reason is
	// kept in last_error. A webhook that is under way is left out.
	Drop(ctx context.Context, f Filter, by Actor) (int, error)

	// Pause stops the delivery of everything, of a source, or of a lane, at all
	// replicas, until Resume or the given time. New webhooks are held.
	Pause(ctx context.Context, p Pause) error
	// Resume ends the pauses of that scope and returns how many there were.
	Resume(ctx context.Context, s Scope, by Actor) (int, error)
	Pauses(ctx context.Context) ([]Pause, error)

	// Lanes returns lanes with a backlog, the oldest first, limit at most.
	Lanes(ctx context.Context, limit int) ([]Lane, error)
	// Replicas returns the living replicas and those that ended in the last day.
	Replicas(ctx context.Context) ([]Replica, error)
	// History returns what happened per minute since then, for the charts.
	History(ctx context.Context, since time.Time) ([]Minute, error)
	// Ledger compares counters and table.
	Ledger(ctx context.Context) (Ledger, error)
	// Actions returns what operators did, the newest first.
	Actions(ctx context.Context, limit int) ([]Action, error)
}

// ErrNotFound is the error for an id without a row.
var ErrNotFound = errors.New("no such webhook")

// Actor says who acts, and why. It is put on record with the action.
type Actor struct {
	Name   string `json:"by"`     // the user, or the name of the token
	Reason string `json:"reason"` // may be empty
}

// Filter selects webhooks: those that all of its fields that are set agree with.
type Filter struct {
	IDs       []int64       `json:"ids,omitempty"`    // column id of webhook_queue
	Status    []string      `json:"status,omitempty"` // pending, processing, completed, failed
	Source    string        `json:"source,omitempty"`
	Lane      string        `json:"lane,omitempty"`
	Event     string        `json:"event,omitempty"`
	Error     string        `json:"error,omitempty"` // is part of last_error
	Suspect   bool          `json:"suspect,omitempty"`
	OlderThan time.Duration `json:"older_than,omitempty"` // by when it was received
	NewerThan time.Duration `json:"newer_than,omitempty"`
}

// Page is a part of a list.
type Page struct {
	Limit int    // 50 when 0, 1,000 at most
	After string // cursor that the page before returned, "" for the first
}

// Webhook is a row without its content.
type Webhook struct {
	ID         int64      `json:"id"`
	SluiceID   string     `json:"sluice_id"`
	Source     string     `json:"source"`
	Event      string     `json:"event"`
	DeliveryID string     `json:"delivery_id"`
	Lane       string     `json:"lane"`
	Status     string     `json:"status"`
	Awaited    bool       `json:"awaited"` // a replica awaits the app's late answer
	Suspect    bool       `json:"suspect"`
	Attempts   int        `json:"attempts"`
	Copies     int        `json:"copies"` // that the sender sent besides
	Bytes      int64      `json:"bytes"`  // of the body
	Verified   string     `json:"verified"`
	Sealed     string     `json:"sealed"` // id of its BUFFER_KEY, "" when it is not sealed
	ReceivedAt time.Time  `json:"received_at"`
	QueuedAt   time.Time  `json:"queued_at"`
	EndedAt    *time.Time `json:"ended_at"`
	LastError  string     `json:"last_error"`
}

// Detail is a webhook with its content and its attempts.
type Detail struct {
	Webhook
	Method string    `json:"method"`
	Target string    `json:"target"`
	Fields []Field   `json:"fields"` // of the head, with secrets redacted
	Body   []byte    `json:"body"`
	Locked string    `json:"locked"` // why Body and Fields are empty, "" when they are not
	Tries  []Attempt `json:"tries"`  // the latest, oldest first
}

// Field is a header field.
type Field struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Attempt is one try to deliver a held webhook.
type Attempt struct {
	At      time.Time     `json:"at"`
	Replica string        `json:"replica"`
	Number  int           `json:"number"`
	Status  int           `json:"status"` // 0 without an answer
	Took    time.Duration `json:"took_ns"`
	Error   string        `json:"error"`
	Answer  string        `json:"answer"` // the first bytes of the app's answer
}

// Scope is what a pause covers: one lane, one source, or everything.
type Scope struct {
	Source string `json:"source,omitempty"`
	Lane   string `json:"lane,omitempty"`
}

// Pause is an operator's order to deliver nothing of a scope.
type Pause struct {
	Scope
	Actor
	Since time.Time  `json:"since"`
	Until *time.Time `json:"until"` // nil: until Resume
}

// Lane is a lane with a backlog.
type Lane struct {
	Lane   string        `json:"lane"`
	Source string        `json:"source"`
	Depth  int           `json:"depth"` // counted up to 10,000
	Oldest time.Duration `json:"oldest_ns"`
	Head   int64         `json:"head"`  // id of the webhook it waits for
	Error  string        `json:"error"` // of the head
}

// Replica is a process that has joined.
type Replica struct {
	Instance string    `json:"instance"`
	Name     string    `json:"name"`
	State    string    `json:"state"`
	Started  time.Time `json:"started"`
	Seen     time.Time `json:"seen"`
	Alive    bool      `json:"alive"`
	Breaker  bool      `json:"breaker_open"`
	Leases   int       `json:"leases"` // buckets that it delivers
	Version  string    `json:"version"`
}

// Minute is what happened within one minute at all replicas.
type Minute struct {
	At                                time.Time `json:"at"`
	Received, Held, Replayed, Refused int64
}

// Ledger is the account of all replicas together.
//
//	Received = Forwarded + Held + Duplicate + Refused + Rejected + Handshake + Sync + Aborted + InFlight
//	Held     = Completed + Pending + Processing + Failed
type Ledger struct {
	Received  int64 `json:"received"`
	Forwarded int64 `json:"forwarded"`
	Held      int64 `json:"held"`
	Duplicate int64 `json:"duplicate"`
	Refused   int64 `json:"refused"`
	Rejected  int64 `json:"rejected"`
	Handshake int64 `json:"handshake"`
	Sync      int64 `json:"sync"`
	Aborted   int64 `json:"aborted"`
	InFlight  int64 `json:"in_flight"`

	Completed  int64 `json:"completed"` // those deleted after RETENTION included
	Pending    int64 `json:"pending"`
	Processing int64 `json:"processing"`
	Failed     int64 `json:"failed"`

	Differences []string `json:"differences"` // in words; none when the account is right
}

// Action is what an operator did.
type Action struct {
	At time.Time `json:"at"`
	Actor
	What   string `json:"what"`   // show, retry, drop, export, pause, resume, override
	Target string `json:"target"` // filter or scope, as JSON
	Count  int    `json:"count"`  // webhooks it changed or read
}
