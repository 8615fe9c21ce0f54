// Package intake stores accepted webhooks with their jobs, each exactly once
// per Sluice-Id, before they are acknowledged.
//
// It owns the tables app_webhooks and app_deliveries and the insertion of
// jobs. Webhooks that arrive while a commit is under way share the next one,
// so a slow disk costs latency, not throughput. It must never answer a request
// or run a job; the server calls [Intake.Store].
//
// The receipt (app_webhooks' primary key) and the jobs commit in one
// transaction. That is what makes a repeated delivery harmless for as long as
// the receipt is kept: River's own unique keys would forget a job when it is
// cleaned away, and would need one row per hook to say what one receipt says.
package intake

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
)

// ErrClosed is returned by Store after Close.
var ErrClosed = errors.New("intake is closed")

// Webhook is one accepted webhook and the jobs it starts.
type Webhook struct {
	ID         string // Sluice-Id
	Source     string
	DeliveryID string // made storable with Name
	Event      string // made storable with Name
	ReceivedAt time.Time
	Headers    map[string][]string
	Body       []byte
	// OncePerDelivery is set for senders that repeat a delivery by themselves:
	// within 24 h a second webhook with this source and delivery id starts
	// nothing.
	OncePerDelivery bool
	Jobs            []river.InsertManyParams
}

// Inserter adds jobs within a transaction; *jobs.Runner does.
type Inserter interface {
	Insert(ctx context.Context, tx pgx.Tx, params []river.InsertManyParams) error
}

// Bounds of one commit. Bodies above largeBody go alone and on a committer of
// their own, so that they do not hold up the small ones.
const (
	batchRows  = 256
	batchBytes = 2 << 20
	largeBody  = 256 << 10
	storeLimit = 5 * time.Second
	largeLimit = 20 * time.Second
)

// Intake commits webhooks in groups. Use [New] and [Intake.Close].
type Intake struct {
	pool  *pgxpool.Pool
	jobs  Inserter
	log   *slog.Logger
	small chan *request
	large chan *request
	stop  chan struct{}
	once  sync.Once
	wait  sync.WaitGroup
}

type request struct {
	hook    *Webhook
	headers []byte // Headers as JSON
	done    chan result
}

type result struct {
	stored bool
	err    error
}

// New starts the committers: one for small webhooks, so that jobs have the
// order of the answers, and one for large ones.
func New(pool *pgxpool.Pool, jobs Inserter, log *slog.Logger) *Intake {
	in := &Intake{
		pool: pool, jobs: jobs, log: log,
		small: make(chan *request, batchRows),
		large: make(chan *request),
		stop:  make(chan struct{}),
	}
	in.wait.Add(2)
	go in.commitLoop(in.small, batchRows, storeLimit)
	go in.commitLoop(in.large, 1, largeLimit)
	return in
}

// Store returns when the webhook and its jobs are committed. stored is false
// when it was known already and nothing was added. On an error nothing may be
// acknowledged; the same webhook can be stored again at any time. That ctx
// ends (the sender hung up) does not undo a commit under way.
func (in *Intake) Store(ctx context.Context, w *Webhook) (stored bool, err error) {
	headers, err := json.Marshal(w.Headers)
	if err != nil {
		return false, fmt.Errorf("encode headers: %w", err)
	}
	r := &request{hook: w, headers: headers, done: make(chan result, 1)}
	queue := in.small
	if len(w.Body) > largeBody {
		queue = in.large
	}
	select {
	case queue <- r:
	case <-in.stop:
		return false, ErrClosed
	case <-ctx.Done():
		return false, fmt.Errorf("store webhook: %w", ctx.Err())
	}
	select {
	case res := <-r.done:
		return res.stored, res.err
	case <-ctx.Done():
		return false, fmt.Errorf("store webhook: %w", ctx.Err())
	}
}

// Close ends the committers after what was handed in is committed. Call it
// when no Store is under way any more.
func (in *Intake) Close() {
	in.once.Do(func() { close(in.stop) })
	in.wait.Wait()
}

// commitLoop takes what has collected and commits it, again and again.
func (in *Intake) commitLoop(queue chan *request, rows int, limit time.Duration) {
	defer in.wait.Done()
	for {
		select {
		case first := <-queue:
			in.commit(collect(first, queue, rows), limit)
		case <-in.stop:
			in.refuseRest(queue)
			return
		}
	}
}

// collect adds to first what is waiting already; it never waits itself.
func collect(first *request, queue chan *request, rows int) []*request {
	batch := []*request{first}
	size := len(first.hook.Body)
	for len(batch) < rows && size < batchBytes {
		select {
		case r := <-queue:
			batch = append(batch, r)
			size += len(r.hook.Body)
		default:
			return batch
		}
	}
	return batch
}

func (in *Intake) refuseRest(queue chan *request) {
	for {
		select {
		case r := <-queue:
			r.done <- result{err: ErrClosed}
		default:
			return
		}
	}
}
