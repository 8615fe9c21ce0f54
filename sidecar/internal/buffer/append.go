package buffer

import (
	"context"
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/google/uuid"
	"sluice/sidecar/internal/webhook"
)

// Receipt says which row keeps a webhook.
type Receipt struct {
	QueueID int64
	// ID is the Sluice-Id of that row: of the first copy, when this webhook was
	// a duplicate of one that is still active.
	ID        string
	Duplicate bool
}

// Append stores w as pending and returns once that is committed. The webhook
// must not be changed meanwhile. When ctx ends, Append returns early only while
// no statement reads w yet; a sender that hangs up fails nobody else's commit.
func (s *Store) Append(ctx context.Context, w *webhook.Webhook) (Receipt, error) {
	return s.append(ctx, w, false)
}

// AppendAwaited stores w as processing: the app has it already, as attempt 1 at
// least, and its late answer is awaited by this replica. Nobody claims the row, and
// nothing behind it in its lane, before SettleAwaited, FreeAwaited or this
// replica's death. The replica must have joined. After an error the row may be
// there all the same, which FreeAwaited sets right. A duplicate's row belongs to
// its first copy: don't settle it.
func (s *Store) AppendAwaited(ctx context.Context, w *webhook.Webhook) (Receipt, error) {
	return s.append(ctx, w, true)
}

func (s *Store) append(ctx context.Context, w *webhook.Webhook, awaited bool) (Receipt, error) {
	e, err := s.entry(w, awaited)
	if err != nil {
		return Receipt{}, fmt.Errorf("append webhook: %w", err)
	}
	if !s.queue.put(e) {
		return Receipt{}, unavailable("append webhook", errClosed)
	}
	timer := time.NewTimer(time.Until(e.deadline))
	defer timer.Stop()
	select {
	case a := <-e.done:
		return a.receipt, a.err
	case <-ctx.Done():
		err = ctx.Err()
	case <-timer.C:
		err = context.DeadlineExceeded
	}
	if s.queue.withdraw(e) {
		return Receipt{}, unavailable("append webhook", err)
	}
	a := <-e.done // soon: a commit's time is bounded
	return a.receipt, a.err
}

func (s *Store) entry(w *webhook.Webhook, awaited bool) (*entry, error) {
	id, err := uuid.Parse(w.ID)
	if err != nil {
		return nil, fmt.Errorf("webhook id: %w", err)
	}
	e := &entry{webhook: w, id: id, awaited: awaited, size: len(w.Head) + len(w.Body), done: make(chan answer, 1)}
	key, ok := w.DedupeKey()
	if !ok {
		// Nobody else has this key; it makes a retry after an unknown outcome
		// meet the row of the first try.
		key = sha256.Sum256(append([]byte("sluice-id:"), id[:]...))
	}
	e.key = key
	e.lane, e.bucket = laneKey(w.Lane)
	e.head = s.sealer.seal(id, headColumn, w.Head)
	e.body = s.sealer.seal(id, bodyColumn, w.Body)
	e.seal = s.sealer.keyID()
	e.grace = time.Duration(e.size>>20) * 100 * time.Millisecond
	e.deadline = time.Now().Add(s.config.AppendTimeout + e.grace)
	return e, nil
}
