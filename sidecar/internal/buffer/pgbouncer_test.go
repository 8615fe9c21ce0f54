package buffer

import (
	"bytes"
	"testing"

	"sluice/infra/testkit"
)

// Through PgBouncer in transaction mode with fewer server connections than the
// store has: nothing may depend on a session.
func TestThroughPgBouncer(t *testing.T) {
	direct := testkit.Database(t)
	through := testkit.Pooler(t, direct, 3)
	one, two := openOnly(t, through), openOnly(t, through)
	migrated := make(chan error, 2)
	for _, s := range []*Store{one, two} {
		go func() { migrated <- s.Migrate(t.Context()) }()
	}
	for range 2 {
		if err := <-migrated; err != nil {
			t.Fatal(err)
		}
	}
	l, stop := crowd(t, one, 16)
	lease(t, two)
	big := hook("big", 1)
	big.Body = bytes.Repeat([]byte("x"), 3<<20)
	mustAppend(t, two, big)
	if _, err := two.AppendAwaited(t.Context(), hook("awaited", 1)); err != nil {
		t.Fatal(err)
	}
	done := 0
	testkit.Eventually(t, "rows are replayed", func() bool {
		if _, _, err := two.Beat(t.Context(), Presence{State: "passing"}); err != nil {
			t.Fatal(err)
		}
		leases, _ := renew(t, two)
		rows := claim(t, two, leases, ClaimFilter{Limit: 50})
		var out []Outcome
		for i := range rows {
			if err := two.LoadBody(t.Context(), &rows[i]); err != nil {
				t.Fatal(err)
			}
			out = append(out, Outcome{QueueID: rows[i].QueueID, Epoch: rows[i].Epoch, Result: Completed, Attempt: 1})
		}
		settle(t, two, out...)
		done += len(out)
		return done > 500
	})
	stop()
	if _, err := one.Backlog(t.Context(), []string{"lane1"}, 5); err != nil {
		t.Error(err)
	}
	if err := two.Leave(t.Context()); err != nil {
		t.Error(err)
	}
	if _, refused := l.count(); refused > 0 {
		t.Errorf("%d refused", refused)
	}
	l.check(t, direct)
}
