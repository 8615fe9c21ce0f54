package simulate

import (
	"context"
	"crypto/sha256"
	"fmt"
	"time"

	"sluice/sidecar/internal/buffer"
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
	r.hook.Head = append(webhook.Head(nil), w.Head...)
	r.hook.Body = append([]byte(nil), w.Body...)
	var ok bool
	if r.key, ok = w.DedupeKey(); !ok {
		r.key = sha256.Sum256([]byte(w.ID))
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
	return exec(ctx, s, opAppend, func() (*row, error) {
		kept, err := s.db.insert(fresh, commit)
		if err != nil {
			return nil, err
		}
		s.db.line.add(false, "db", fresh.name(), "%s: row %d is committed (%s%s)", s.name, kept.id, kept.status, awaitedText(kept))
		return &row{id: kept.id, hook: webhook.Webhook{ID: kept.hook.ID}}, nil
	})
}

func awaitedText(r *row) string {
	if r.awaitedBy != "" {
		return ", awaited"
	}
	return ""
}

func (s *store) SettleAwaited(ctx context.Context, queueID int64, completed bool, reason string) error {
	return change(ctx, s, queryTimeout, opAwaited, "settle awaited webhook", func() {
		r := s.db.find(queueID)
		switch {
		case r == nil:
		case completed && r.status != "completed":
			r.status, r.awaitedBy = "completed", ""
			s.db.line.tell("db", r.name(), "%s: late answer, completed", s.name)
		case !completed && r.active() && r.awaitedBy == s.instance:
			r.status, r.awaitedBy, r.epoch, r.reason = "pending", "", 0, reason
			s.db.line.tell("db", r.name(), "%s: pending again: %s", s.name, reason)
		}
	})
}
