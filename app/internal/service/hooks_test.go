package service_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"sluice/infra/testkit"
)

// app runs a command of the binary and returns its output and its exit code.
func app(t *testing.T, env []string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	cmd := exec.Command(testkit.Program(t, program), args...)
	cmd.Env = append(os.Environ(), env...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	_ = cmd.Run()
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

func rulesFile(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "hooks.yaml")
	write(t, file, text)
	return file
}

// Jobs with the same key run one after another in their order, also when one of
// them fails at first; jobs with other keys run at the same time.
func TestConcurrencyKey(t *testing.T) {
	db := testkit.Database(t)
	dir := t.TempDir()
	script := filepath.Join(dir, "x.sh")
	write(t, script, fmt.Sprintf(`cd %s
mkdir "busy-$KEY" || echo "overlap-$KEY" >> overlaps
sleep 0.02
rmdir "busy-$KEY"
if [ "$SLUICE_DELIVERY_ID" = a-03 ] && [ ! -e failed ]; then touch failed; exit 1; fi
echo $SLUICE_DELIVERY_ID >> out
`, dir))
	file := rulesFile(t, fmt.Sprintf(`
hooks:
  - name: keyed
    concurrency_key: "{{payload.key}}"
    retries: {attempts: 3, backoff: 300ms}
    action: {exec: {argv: [/bin/sh, %q], env: {KEY: "{{payload.key}}"}}}
`, script))
	env := []string{"DATABASE_URL=" + db, "HOOKS_FILE=" + file}
	apps := []*proc{start(t, env...), start(t, env...)}
	const each = 12
	for i := range each {
		for _, key := range []string{"a", "b", "c"} {
			if code, body := apps[i%2].post(fmt.Sprintf("%s-%02d", key, i), fmt.Sprintf(`{"key":%q}`, key)); code != 202 {
				t.Fatalf("answered %d %s", code, body)
			}
		}
	}
	testkit.Eventually(t, "end of jobs", func() bool { return len(lines(t, dir+"/out")) == 3*each })
	if got := lines(t, dir+"/overlaps"); len(got) > 0 {
		t.Errorf("ran at the same time: %v", got)
	}
	last := map[string]string{}
	for _, id := range lines(t, dir+"/out") {
		if id <= last[id[:1]] {
			t.Errorf("%s ran after %s", id, last[id[:1]])
		}
		last[id[:1]] = id
	}
}

// An invalid file stops the start with file, line and reason. At a reload the old
// rules stay in force.
func TestReload(t *testing.T) {
	db := testkit.Database(t)
	out := filepath.Join(t.TempDir(), "out")
	rules := func(word string) string {
		return fmt.Sprintf("hooks:\n  - name: x\n    action: {exec: {shell: 'echo %s >> %s'}}\n", word, out)
	}
	file := rulesFile(t, "hooks:\n  - name: x\n    when: payload. ==\n    action: {log: {}}\n")
	env := []string{"DATABASE_URL=" + db, "HOOKS_FILE=" + file, "PORT=0"}
	if _, stderr, code := app(t, env, "serve"); code != 2 || !strings.Contains(stderr, file+":3: when:") || strings.Contains(stderr, "goroutine") {
		t.Errorf("a wrong file: exit code %d, %s", code, stderr)
	}

	write(t, file, rules("one"))
	p := start(t, env...)
	ran := func(n int, word string) {
		t.Helper()
		p.post(fmt.Sprint(n), "{}")
		p.wait("job", func() bool { return len(lines(t, out)) == n })
		if got := lines(t, out); got[n-1] != word {
			t.Errorf("the rules in force say %s, want %s", got[n-1], word)
		}
	}
	ran(1, "one")
	write(t, file, rules("two"))
	p.Signal(syscall.SIGHUP)
	p.waitLogged("Hooks reloaded")
	ran(2, "two")
	write(t, file, "hooks: [")
	p.waitLogged("Hooks not reloaded, the old ones stay in force") // without a signal: the file is polled
	ran(3, "two")
}

func TestHooksCommands(t *testing.T) {
	file := rulesFile(t, `
hooks:
  - name: deploy
    source: github
    event: push
    when: payload.ref == "refs/heads/main"
    concurrency_key: "{{payload.repository}}"
    action: {exec: {argv: [deploy.sh, "--ref", "{{payload.ref}}"]}}
  - name: other
    event: issues
    action: {log: {}}
`)
	event := filepath.Join(t.TempDir(), "event.json")
	write(t, event, `{"ref":"refs/heads/main","repository":"o/r"}`)
	if out, _, code := app(t, nil, "hooks", "check", file); code != 0 || !strings.Contains(out, "2 hooks, no problems") || !strings.Contains(out, `warning: hook "deploy": only verified`) {
		t.Errorf("check: %d %s", code, out)
	}
	out, stderr, code := app(t, nil, "hooks", "test", "--hooks", file, "--event", event, "--name", "push", "-o", "json")
	var got []map[string]any
	if err := json.Unmarshal([]byte(out), &got); code != 0 || err != nil || len(got) != 1 {
		t.Fatalf("test: %d %s %s", code, out, stderr)
	}
	if s := fmt.Sprintf("%v %v %v", got[0]["hook"], got[0]["does"], got[0]["concurrency_key"]); s != "deploy [deploy.sh --ref refs/heads/main] o/r" {
		t.Errorf("test says %s", s)
	}
	if out, _, code := app(t, nil, "hooks", "test", "--hooks", file, "--event", event, "--name", "pull_request"); code != 0 || !strings.Contains(out, "no hook would run") {
		t.Errorf("test: %d %s", code, out)
	}
	wrong := rulesFile(t, "hooks:\n  - name: a\n    actoin: {}\n")
	if _, stderr, code := app(t, nil, "hooks", "check", wrong); code != 2 || !strings.Contains(stderr, wrong+":3: unknown field") {
		t.Errorf("check of a wrong file: %d %s", code, stderr)
	}
	if out, _, code := app(t, nil, "hooks", "schema"); code != 0 || !json.Valid([]byte(out)) {
		t.Errorf("schema: %d", code)
	}
	if _, stderr, code := app(t, nil, "bogus"); code != 2 || stderr == "" {
		t.Errorf("an unknown command: %d %s", code, stderr)
	}
}

type shown struct {
	ID      int64  `json:"id"`
	State   string `json:"state"`
	Hook    string `json:"hook"`
	Attempt int    `json:"attempt"`
	Outcome struct {
		ExitCode int    `json:"exit_code"`
		Output   string `json:"output"`
	} `json:"outcome"`
	Errors []struct {
		Error string `json:"error"`
	} `json:"errors"`
}

func TestJobsCommands(t *testing.T) {
	db := testkit.Database(t)
	dir := t.TempDir()
	file := rulesFile(t, fmt.Sprintf(`
hooks:
  - name: fails
    event: push
    retries: {attempts: 2, backoff: 10ms}
    action: {exec: {shell: 'echo tried; [ -e %[1]s/ok ]'}}
  - name: long
    event: push
    action: {exec: {shell: 'touch %[1]s/running; exec sleep 60'}}
`, dir))
	env := []string{"DATABASE_URL=" + db}
	p := start(t, append(env, "HOOKS_FILE="+file)...)
	p.post("d", "{}")
	show := func(verb string, id int64) shown {
		t.Helper()
		out, stderr, code := app(t, env, "jobs", verb, fmt.Sprint(id), "--output", "json")
		var s shown
		if err := json.Unmarshal([]byte(out), &s); err != nil || code != 0 {
			t.Fatalf("%s: %d %s %s", verb, code, out, stderr)
		}
		return s
	}
	state := func(id int64, want string) func() bool {
		return func() bool { return show("show", id).State == want }
	}
	p.wait("end of attempts", state(1, "discarded"))
	if s := show("show", 1); s.Hook != "fails" || s.Attempt != 2 || len(s.Errors) != 2 || s.Outcome.Output != "tried\n" || s.Outcome.ExitCode != 1 {
		t.Errorf("a failed job: %+v", s)
	}
	write(t, dir+"/ok", "")
	show("retry", 1)
	p.wait("retried job", state(1, "completed"))

	p.wait("long job", func() bool { return exists(dir + "/running") })
	show("cancel", 2)
	p.wait("cancelled job", state(2, "cancelled"))

	out, _, code := app(t, env, "jobs", "list", "--state", "completed", "-o", "json")
	var list []shown
	if err := json.Unmarshal([]byte(out), &list); err != nil || code != 0 || len(list) != 1 || list[0].ID != 1 {
		t.Errorf("list: %d %s", code, out)
	}
	if out, _, code := app(t, env, "jobs", "list", "--hook", "long"); code != 0 || !strings.Contains(out, "cancelled") || strings.Contains(out, "fails") {
		t.Errorf("list: %d %s", code, out)
	}
	if out, _, code := app(t, env, "jobs", "show", "1"); code != 0 || !strings.Contains(out, "tried") {
		t.Errorf("show: %d %s", code, out)
	}
	if _, stderr, code := app(t, env, "jobs", "show", "99"); code != 1 || !strings.Contains(stderr, "no such job") {
		t.Errorf("no such job: %d %s", code, stderr)
	}
	// A command must not run jobs: it writes no heartbeat of its own.
	if n := count(t, openPool(t, db), `SELECT count(*) FROM app_instances`); n != 1 {
		t.Errorf("%d processes listed", n)
	}
}

// A retry by the sender is recognised by its delivery id. A redelivery by GitHub is
// deliberate and runs.
func TestRepeatedDeliveries(t *testing.T) {
	db := testkit.Database(t)
	p := start(t, "DATABASE_URL="+db)
	pool := openPool(t, db)
	slack := func() (int, string) {
		return p.send("/webhooks/slack/events", []byte(`{"type":"event_callback","event_id":"Ev1","event":{"type":"message"}}`))
	}
	for i, want := range []string{"accepted", "duplicate", "duplicate"} {
		if code, body := slack(); code != 202 || !strings.Contains(body, want) {
			t.Errorf("copy %d: %d %s, want %s", i, code, body, want)
		}
	}
	if _, err := pool.Exec(t.Context(), `UPDATE app_deliveries SET stored_at = stored_at - interval '25 hours'`); err != nil {
		t.Fatal(err)
	}
	if code, body := slack(); code != 202 || !strings.Contains(body, "accepted") {
		t.Errorf("after a day: %d %s", code, body)
	}
	for range 2 {
		if code, body := p.post("gh-1", "{}"); code != 202 || !strings.Contains(body, "accepted") {
			t.Errorf("a redelivery by GitHub: %d %s", code, body)
		}
	}
	var n int
	if err := pool.QueryRow(t.Context(), `SELECT count(*) FROM river_job`).Scan(&n); err != nil {
		t.Fatal(err)
	}
	if n != 4 {
		t.Errorf("%d jobs, want 4", n)
	}
}

// Names that do not fit into a text column must not fail a webhook, nor others in
// the same commit.
func TestOddNames(t *testing.T) {
	db := testkit.Database(t)
	p := start(t, "DATABASE_URL="+db)
	for _, id := range []string{strings.Repeat("x", 5000), "caf\xe9", "\xff"} {
		if code, body := p.post(id, "{}"); code != 202 {
			t.Errorf("%.20q: %d %s", id, code, body)
		}
	}
	if code, body := p.send("/webhooks/slack/events", []byte(`{"type":"event_callback","event_id":"E\u0000v","event":{"type":"a\u0000"}}`)); code != 202 {
		t.Errorf("NUL: %d %s", code, body)
	}
}
