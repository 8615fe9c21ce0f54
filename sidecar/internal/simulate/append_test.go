package simulate

import (
	"context"
	"crypto/sha256"
	"fmt"
	"time"

	"sluice/sidecar/internal/buffer"
	"sluice/sidecar/internal/request"
	"sluice/sidecar/internal/webhook"
)

func (s *store) Append(ctx context.Context, w *webhook.Webhook) (buffer.Receipt, error) {
	return s.append(ctx, w, false)
}

func (s *store) AppendAwaited(ctx context.Context, w *webhook.Webhook) (buffer.Receipt, error) {
	return s.append(ctx, w, true)
}

// append tries until the time is over, as the buffer's committers do.
func (s *store) append(ctx context.Context, w *webhook.Webhook, awaited bool) (buffer.Receipt, error) {
	deadline := time.Now().Add(s.config.AppendTimeout)
	third := s.config.AppendTimeout / 3
	err := errAway
	for try := 0; time.Now().Before(deadline); try++ {
		limit := min(max(time.Until(deadline), third), 2*third)
		var kept *row
		fresh := s.row(w, awaited)
		kept, err = within(ctx, limit, func(ctx context.Context) (*row, error) { return s.insert(ctx, fresh) })
		if err == nil {
			r := buffer.Receipt{QueueID: kept.id, ID: kept.hook.ID, Duplicate: kept.hook.ID != w.ID}
			return r, nil
		}
		if waitCtx(ctx, backoff(try)) != nil {
			break
		}
	}
	return buffer.Receipt{}, fmt.Errorf("append webhook: %w: %w", buffer.ErrUnavailable, err)
}

func (s *store) row(w *webhook.Webhook, awaited bool) *row {
	r := &row{hook: *w, bucket: bucketOf(w.Lane), status: "pending", attempts: w.Attempts}
	r.hook.Head = append(request.Head(nil), w.Head...)
	r.hook.Body = append([]byte(nil), w.Body...)
	key, ok := w.DedupeKey()
	if !ok {
		key = sha256.Sum256([]byte(w.ID))
	}
	r.key = &key
	if len(s.keys) > 0 {
		r.keyID = s.keys[0]
	}
	if awaited {
		r.status, r.awaitedBy, r.attempts = "processing", s.instance, max(r.attempts, 1)
	}
	return r
}

// insert returns a copy of the row that keeps the webhook.
func (s *store) insert(ctx context.Context, fresh *row) (*row, error) {
	d, f := s.calls[opAppend], s.faults()
	commit := d.between(200*time.Microsecond, 3*time.Millisecond)
	if d.chance(f.slowCommit) {
		commit += d.between(0, f.slowestCommit)
	}
	return send(ctx, s, opAppend, func() (*row, error) {
		return s.db.insert(fresh, s.name, commit)
	})
}

func (s *store) SettleAwaited(ctx context.Context, queueID int64, completed bool, reason string) error {
	return change(ctx, s, queryTimeout, opAwaited, "settle awaited webhook", func() {
		r := s.db.find(queueID)
		switch {
		case r == nil:
		case completed && r.status != "completed":
			r.status, r.awaitedBy, r.key = "completed", "", nil
			s.db.line.tell("db", r.name(), "%s: late answer, completed", s.name)
		case !completed && r.active() && r.awaitedBy == s.instance:
			r.status, r.awaitedBy, r.reason = "pending", "", reason
			s.db.line.tell("db", r.name(), "%s: pending again: %s", s.name, reason)
		}
	})
}

// FreeAwaited is the buffer's: one statement reads what is awaited, a second one
// frees what nobody waits for.
func (s *store) FreeAwaited(ctx context.Context, awaited func(id string) bool) (int64, error) {
	return do(ctx, s, vitalTimeout, "free awaited webhooks", func(ctx context.Context) (int64, error) {
		rows, err := one(ctx, s, opAwaited, func() map[int64]string { return s.db.awaitedBy(s.instance) })
		if err != nil {
			return 0, err
		}
		var orphans []int64
		for id, sluiceID := range rows {
			if !awaited(sluiceID) {
				orphans = append(orphans, id)
			}
		}
		if len(orphans) == 0 {
			return 0, nil
		}
		return one(ctx, s, opAwaited, func() (freed int64) {
			for _, id := range orphans {
				if r := s.db.find(id); r != nil && r.active() && r.awaitedBy == s.instance {
					r.status, r.awaitedBy = "pending", ""
					freed++
					s.db.line.tell("db", r.name(), "%s: pending again: nobody awaits the answer", s.name)
				}
			}
			return freed
		})
	})
}
