// Package intake stores accepted webhooks with their jobs, exactly once per
// Sluice-Id, before they are acknowledged.
//
// It owns the tables app_webhooks and app_deliveries and the insertion of
// jobs. Webhooks that arrive while a commit is under way share the next one,
// so a slow disk costs latency, not throughput. It must never answer a request
// or run a job; the server calls [Intake.Store].
//
// A webhook's row in app_webhooks is its receipt. Receipt and jobs commit in one
// transaction, so a repeated delivery starts nothing for as long as the receipt
// is kept. The unique keys of River, the job queue, would not do: River forgets a
// key when it deletes the job, and would need one per hook instead of one per
// webhook.
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
	Route      string // delivery ids are known by it: no route can use up those of another
	DeliveryID string // passed through Name
	Event      string // passed through Name
	ReceivedAt time.Time
	Headers    map[string][]string
	Body       []byte
	// OncePerDelivery is set for senders that retry by themselves: within 24 h a
	// second webhook with this source and delivery id starts nothing.
	OncePerDelivery bool
	Jobs            []river.InsertManyParams
}

// Inserter adds jobs within a transaction; *jobs.Runner implements it.
type Inserter interface {
	Insert(ctx context.Context, tx pgx.Tx, params []river.InsertManyParams) error
}

// Limits of one commit. Webhooks with a body above largeBody are committed one by
// one in a loop of their own, so that they do not delay the small ones.
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
	webhook *Webhook
	headers []byte // Headers as JSON
	done    chan result
}

type result struct {
	stored bool
	err    error
}

// New starts two commit loops: one for small webhooks, so that their jobs have the
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
// when the webhook was stored before; then nothing is added. After an error the
// webhook must not be acknowledged; it can be stored again at any time. The end
// of ctx (the sender hung up) does not undo a commit under way.
func (in *Intake) Store(ctx context.Context, w *Webhook) (stored bool, err error) {
	headers, err := json.Marshal(w.Headers)
	if err != nil {
		return false, fmt.Errorf("encode headers: %w", err)
	}
	r := &request{webhook: w, headers: headers, done: make(chan result, 1)}
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

// Close ends the commit loops; a commit under way is finished. Call it when no
// Store is under way any more.
func (in *Intake) Close() {
	in.once.Do(func() { close(in.stop) })
	in.wait.Wait()
}

// commitLoop commits the webhooks that wait in the queue, batch by batch.
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

// collect adds the webhooks that already wait to first; it does not wait for
// more.
func collect(first *request, queue chan *request, rows int) []*request {
	batch := []*request{first}
	size := len(first.webhook.Body)
	for len(batch) < rows && size < batchBytes {
		select {
		case r := <-queue:
			batch = append(batch, r)
			size += len(r.webhook.Body)
		default:
			return batch
		}
	}
	return batch
}

// refuseRest answers the webhooks that still wait with ErrClosed.
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
