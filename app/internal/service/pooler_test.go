package service_test

import (
	"fmt"
	"strings"
	"syscall"
	"testing"

	"sluice/infra/testkit"
)

// Behind PgBouncer in transaction mode with few server connections, the app starts,
// runs a key's jobs in their order and drains.
func TestThroughPgBouncer(t *testing.T) {
	db := testkit.Pooler(t, testkit.Database(t), 4)
	dir := t.TempDir()
	file := rulesFile(t, fmt.Sprintf(`
hooks:
  - name: keyed
    concurrency_key: all
    action: {exec: {shell: 'echo $SLUICE_DELIVERY_ID >> %s/out'}}
`, dir))
	env := []string{"DATABASE_URL=" + db, "DATABASE_POOLER=transaction", "HOOKS_FILE=" + file}
	apps := []*proc{start(t, env...), start(t, env...)}
	const jobs = 8
	for i := range jobs {
		if code, body := apps[i%2].post(fmt.Sprint(i), "{}"); code != 202 {
			t.Fatalf("answered %d %s", code, body)
		}
	}
	testkit.Eventually(t, "end of jobs", func() bool { return len(lines(t, dir+"/out")) == jobs })
	if got := strings.Join(lines(t, dir+"/out"), ""); got != "01234567" {
		t.Errorf("ran in the order %s", got)
	}
	for _, p := range apps {
		p.Signal(syscall.SIGTERM)
		if code := p.ExitCode(); code != 0 {
			t.Errorf("exit code %d", code)
		}
	}
}
