package bench

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"sluice/infra/bench/load"
)

// hold compares a sidecar whose app is down with single INSERTs of the rows that
// it writes. Both tables are alike and grow alike.
type hold struct {
	config   Config
	requests []load.Request
	sidecar  *sidecar
	queue    *pgx.Conn // to read the sidecar's table
	inserts  []load.Sender
	copies   []load.Sender
	database load.Meter
}

const (
	sectionHold  = "Webhooks held and acknowledged"
	singleInsert = "single INSERTs"
	copyFrom     = "CopyFrom"
	heldWide     = "sidecar, more connections"
)

func (s *stage) newHold(ctx context.Context) (*hold, error) {
	h := &hold{config: s.config, database: s.databaseCPU, requests: load.GitHub(s.config.Repositories, s.config.Bytes)}
	noApp, err := freeAddr() // nothing listens there
	if err != nil {
		return nil, err
	}
	if h.sidecar, err = s.startSidecar(ctx, noApp, "GITHUB_WEBHOOK_SECRET="+load.Secret); err != nil {
		return nil, err
	}
	if h.queue, err = s.connect(ctx, h.sidecar.database); err != nil {
		return nil, err
	}
	// One webhook of each lane makes the rows that are copied.
	if _, err := h.post(ctx, load.Spec{Count: s.config.Repositories}, 1); err != nil {
		return nil, err
	}
	if h.inserts, err = s.newInserters(ctx, h.queue); err != nil {
		return nil, err
	}
	// Then neither table grows while it is written to, unless the rates are higher
	// than expected.
	if h.copies, err = s.newCopiers(ctx, h.inserts[0].(*inserter)); err != nil {
		return nil, err
	}
	turns := 2 * time.Duration(s.config.Rounds) * (warm + s.config.Turn)
	for _, conn := range []*pgx.Conn{h.queue, h.inserts[0].(*inserter).conn} {
		if err := s.makeRoom(ctx, conn, turns); err != nil {
			return nil, err
		}
	}
	return h, s.makeSegments(ctx, 2*turns)
}

func (h *hold) round(ctx context.Context, number int, r *Report) error {
	spec := load.Spec{Warm: warm, Measure: h.config.Turn, Meters: []load.Meter{h.database, h.sidecar.CPU}}
	held := func(name string, connections int) func() error {
		return func() error {
			got, err := h.post(ctx, spec, connections)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			f := figures(got)
			f.DatabaseCPU, f.CPU = each(got.Used[0], got.Answered), each(got.Used[1], got.Answered)
			r.add(sectionHold, name, number, f)
			return nil
		}
	}
	inserted := func() error {
		got, err := load.Run(ctx, spec, h.inserts)
		if err != nil {
			return fmt.Errorf("single INSERTs: %w", err)
		}
		f := figures(got)
		f.DatabaseCPU = each(got.Used[0], got.Answered)
		r.add(sectionHold, singleInsert, number, f)
		return nil
	}
	copied := func() error {
		got, err := load.Run(ctx, spec, h.copies)
		if err != nil {
			return fmt.Errorf("CopyFrom: %w", err)
		}
		rows := copyRows(h.config)
		f := figures(got)
		f.Rate *= float64(rows)
		f.SenderCPU /= float64(rows)
		f.DatabaseCPU = each(got.Used[0], got.Answered*rows)
		r.add(sectionHold, copyFrom, number, f)
		return nil
	}
	return inTurn(number, held("sidecar", h.config.HoldConnections), inserted,
		held(heldWide, h.config.CopyConnections), copied)
}

// inTurn calls the functions, starting with another one in each round.
func inTurn(number int, turns ...func() error) error {
	for i := range turns {
		if err := turns[(i+number)%len(turns)](); err != nil {
			return err
		}
	}
	return nil
}

// post has webhooks held and checks that each acknowledged one has a row.
func (h *hold) post(ctx context.Context, spec load.Spec, connections int) (*load.Result, error) {
	before, err := h.rows(ctx)
	if err != nil {
		return nil, err
	}
	got, err := load.Post(ctx, spec, load.Target{Addr: h.sidecar.addr, Connections: connections, Requests: h.requests})
	if err != nil {
		return nil, err
	}
	after, err := h.rows(ctx)
	if err != nil {
		return nil, err
	}
	if after-before != got.Total {
		return nil, fmt.Errorf("%d webhooks acknowledged and %d rows written", got.Total, after-before)
	}
	return got, nil
}

func (h *hold) rows(ctx context.Context) (n int, err error) {
	if err := h.queue.QueryRow(ctx, "SELECT count(*) FROM webhook_queue").Scan(&n); err != nil {
		return 0, fmt.Errorf("count rows: %w", err)
	}
	return n, nil
}
