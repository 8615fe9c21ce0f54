package bench

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"sluice/infra/bench/load"
)

// hold compares a sidecar whose app is away with single INSERTs of the rows
// that it writes. Both tables are alike and grow alike.
type hold struct {
	config   Config
	requests []load.Request
	sidecar  *sidecar
	queue    *pgx.Conn // to look into the sidecar's table
	inserts  *inserts
}

const (
	sectionHold  = "Webhooks held and acknowledged"
	singleInsert = "single INSERTs"
)

func (s *stage) newHold(ctx context.Context) (*hold, error) {
	h := &hold{config: s.config, requests: load.GitHub(s.config.Lanes, s.config.Bytes)}
	nobody, err := freeAddr()
	if err != nil {
		return nil, err
	}
	if h.sidecar, err = s.startSidecar(ctx, nobody, "GITHUB_WEBHOOK_SECRET="+load.Secret); err != nil {
		return nil, err
	}
	if h.queue, err = s.connect(ctx, h.sidecar.database); err != nil {
		return nil, err
	}
	// One webhook of each lane makes the rows that are copied.
	if err := h.post(ctx, load.Spec{Connections: 1, Count: s.config.Lanes}, nil); err != nil {
		return nil, err
	}
	h.inserts, err = s.newInserts(ctx, h.queue)
	return h, err
}

func (h *hold) round(ctx context.Context, number int, r *Report) error {
	held := func() error {
		return h.post(ctx, load.Spec{
			Connections: h.config.HoldConnections, Warm: warm, Measure: h.config.Turn, CPU: h.sidecar.CPU,
		}, func(f Figures) { r.add(sectionHold, "sidecar", number, f) })
	}
	inserted := func() error {
		got, err := h.inserts.run(ctx, warm, h.config.Turn)
		if err == nil {
			r.add(sectionHold, singleInsert, number, figures(got))
		}
		return err
	}
	turns := []func() error{held, inserted}
	for i := range turns {
		if err := turns[(i+number)%len(turns)](); err != nil {
			return err
		}
	}
	return nil
}

// post has webhooks held and checks that each one acknowledged has its row.
func (h *hold) post(ctx context.Context, spec load.Spec, done func(Figures)) error {
	before, err := h.rows(ctx)
	if err != nil {
		return err
	}
	spec.Addr, spec.Requests = h.sidecar.addr, h.requests
	got, err := load.Run(ctx, spec)
	if err != nil {
		return fmt.Errorf("sidecar: %w", err)
	}
	after, err := h.rows(ctx)
	if err != nil {
		return err
	}
	if after-before != got.Total {
		return fmt.Errorf("sidecar: %d webhooks acknowledged and %d rows written", got.Total, after-before)
	}
	if done != nil {
		done(figures(got))
	}
	return nil
}

func (h *hold) rows(ctx context.Context) (n int, err error) {
	if err := h.queue.QueryRow(ctx, "SELECT count(*) FROM webhook_queue").Scan(&n); err != nil {
		return 0, fmt.Errorf("count rows: %w", err)
	}
	return n, nil
}

// connect opens a connection that the stage closes.
func (s *stage) connect(ctx context.Context, url string) (*pgx.Conn, error) {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return nil, fmt.Errorf("connect to database: %w", err)
	}
	s.onClose(func() error { return conn.Close(context.Background()) })
	return conn, nil
}
