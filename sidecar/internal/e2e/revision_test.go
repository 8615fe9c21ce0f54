package e2e

import (
	"testing"

	"sluice/infra/testkit"
)

// A replacement replica of a revision that has been healthy before takes webhooks as
// soon as it can hold them, since its app may take minutes to start. A new revision
// waits for its app.
func TestAReplacementNeedNotWaitForItsApp(t *testing.T) {
	t.Parallel()
	db := newDatabase(t)
	gate := env{"STARTUP_GATE": "app", "CONTAINER_APP_REVISION": "app--one"}
	away := newApp(t)
	first := start(t, db, away, gate)
	first.mustHold("/hooks/x", "{}")
	if got := first.probe("/startupz"); got != 503 {
		t.Errorf("a new revision: /startupz is %d before its app was healthy", got)
	}
	away.start()
	testkit.Eventually(t, "the revision is healthy and remembered", func() bool {
		return first.probe("/startupz") == 200 && db.number(`SELECT count(*) FROM webhook_revisions WHERE name = 'app--one'`) == 1
	})
	replacement := start(t, db, newApp(t), gate)
	testkit.Eventually(t, "the replacement is let in", func() bool { return replacement.probe("/startupz") == 200 })
	replacement.mustHold("/hooks/x", "{}")

	next := start(t, db, newApp(t), env{"STARTUP_GATE": "app", "CONTAINER_APP_REVISION": "app--two"})
	next.mustHold("/hooks/x", "{}")
	if got := next.probe("/startupz"); got != 503 {
		t.Errorf("the next revision: /startupz is %d before its app was healthy", got)
	}
}
