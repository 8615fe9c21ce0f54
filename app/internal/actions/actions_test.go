package actions_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sluice/app/internal/actions"
	"sluice/app/internal/hooks"
	"sluice/infra/leaks"
)

func TestMain(m *testing.M) {
	leaks.Main(m, goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"), goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"))
}

// hook parses one hook from its action.
func hook(t *testing.T, action string) *hooks.Hook {
	t.Helper()
	rules, err := hooks.Parse("test", []byte("hooks:\n  - name: x\n    timeout: 20s\n    action:\n      "+strings.ReplaceAll(action, "\n", "\n      ")+"\n"))
	if err != nil {
		t.Fatal(err)
	}
	return rules.All()[0]
}

func call(body string, log *slog.Logger) actions.Call {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return actions.Call{
		Event: &hooks.Event{
			ID: "id-1", Source: "github", Event: "push", DeliveryID: "d1", ReceivedAt: time.Now(),
			Header: map[string][]string{"Content-Type": {"application/json"}, "X-Github-Event": {"push"}, "Sluice-Id": {"x"}, "Connection": {"close"}},
			Body:   []byte(body),
		},
		Payload: bytes.NewReader([]byte(body)), Size: int64(len(body)), Attempt: 1, Logger: log,
	}
}

func set(t *testing.T, c actions.Config) *actions.Set {
	t.Helper()
	if c.PerHost == 0 {
		c.PerHost = 4
	}
	s, err := actions.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestExec(t *testing.T) {
	dir := t.TempDir()
	tests := []struct{ name, action, output string }{
		{"stdin", `exec: {argv: [cat]}`, `{"ref":"main","n":{"a b":7}}`},
		{"templates", `exec: {argv: [printf, "%s|", "{{payload.ref}}", "a b; $HOME"]}`, "main|a b; $HOME|"},
		{"shell", `exec: {shell: 'echo "$SLUICE_EVENT" "$REF" | tr a-z A-Z', env: {REF: "{{payload.ref}}"}}`, "PUSH MAIN\n"},
		{"fields", `exec: {shell: 'echo $SLUICE_PAYLOAD_REF $SLUICE_PAYLOAD_N_A_B $SLUICE_HOOK $SLUICE_ATTEMPT'}`, "main 7 x 1\n"},
		{"file", `exec: {shell: 'cat; cat "$SLUICE_PAYLOAD_FILE"', payload: file}`, `{"ref":"main","n":{"a b":7}}`},
		{"none", `exec: {argv: [cat], payload: none}`, ""},
		{"dir", fmt.Sprintf(`exec: {argv: [pwd], dir: %q}`, dir), dir + "\n"},
		{"reads nothing", `exec: {argv: ["true"]}`, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			out, err := set(t, actions.Config{}).Run(t.Context(), hook(t, tt.action), call(`{"ref":"main","n":{"a b":7}}`, nil))
			if err != nil {
				t.Fatal(err)
			}
			if out.Output != tt.output || out.ExitCode == nil || *out.ExitCode != 0 {
				t.Errorf("outcome %+v, want output %q", out, tt.output)
			}
		})
	}
}

func TestExecFails(t *testing.T) {
	out, err := set(t, actions.Config{}).Run(t.Context(), hook(t, `exec: {shell: 'echo broken >&2; exit 7'}`), call("{}", nil))
	if err == nil || out.ExitCode == nil || *out.ExitCode != 7 || out.Output != "broken\n" {
		t.Errorf("outcome %+v, error %v", out, err)
	}
	if _, err = set(t, actions.Config{}).Run(t.Context(), hook(t, `exec: {argv: [/no/such/command]}`), call("{}", nil)); err == nil {
		t.Error("a missing command is no error")
	}
}

func TestExecOutputIsBoundedAndLogged(t *testing.T) {
	var log bytes.Buffer
	logger := slog.New(slog.NewJSONHandler(&log, nil))
	out, err := set(t, actions.Config{}).Run(t.Context(), hook(t, `exec: {shell: 'echo first; head -c 100000 /dev/zero | tr "\000" x; printf "\000\377last"'}`), call("{}", logger))
	if err != nil {
		t.Fatal(err)
	}
	if len(out.Output) > 17<<10 || !out.Truncated || !strings.HasSuffix(out.Output, "last") || strings.ContainsRune(out.Output, 0) {
		t.Errorf("%d bytes, truncated %t", len(out.Output), out.Truncated)
	}
	if !strings.Contains(log.String(), `"line":"first"`) {
		t.Error("the output is not in the log")
	}
	if log.Len() > 10<<10 {
		t.Errorf("a line of %d bytes in the log", log.Len())
	}
}

// When a command that ignores SIGTERM times out, it and its children, which ignore
// it too, are killed; so are children that a command leaves behind.
func TestExecLeavesNothing(t *testing.T) {
	const children = `for i in 1 2; do sh -c 'trap "" TERM; echo $$ >> "$0"; while :; do sleep 1; done' "$PIDS" & done; `
	tests := []struct {
		name, script string
		timeout      string
		failed       error
	}{
		{"ignores SIGTERM", `trap "" TERM; ` + children + `echo $$ >> "$PIDS"; while :; do sleep 1; done`, "5s", actions.ErrTimeout},
		{"obeys SIGTERM", children + `echo $$ >> "$PIDS"; exec sleep 100`, "5s", actions.ErrTimeout},
		{"leaves children", children + `while [ "$(wc -l < "$PIDS")" -lt 2 ]; do sleep 0.05; done`, "60s", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			pids := filepath.Join(t.TempDir(), "pids")
			if err := os.WriteFile(pids, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			script := filepath.Join(t.TempDir(), "x.sh")
			if err := os.WriteFile(script, []byte("PIDS="+pids+"\n"+tt.script), 0o600); err != nil {
				t.Fatal(err)
			}
			h := hook(t, fmt.Sprintf("exec: {argv: [/bin/sh, %q], timeout: %s}", script, tt.timeout))
			_, err := set(t, actions.Config{}).Run(t.Context(), h, call("{}", nil))
			if !errors.Is(err, tt.failed) {
				t.Errorf("error %v", err)
			}
			b, err := os.ReadFile(pids)
			if err != nil {
				t.Fatal(err)
			}
			if len(strings.Fields(string(b))) < 2 {
				t.Fatalf("the children did not start: %q", b)
			}
			for _, pid := range strings.Fields(string(b)) {
				ends(t, pid)
			}
		})
	}
}

// A child that left the process group and has the output open does not delay the
// job's end.
func TestExecNotDelayedByStrangers(t *testing.T) {
	if _, err := exec.LookPath("setsid"); err != nil {
		t.Skip("no setsid here")
	}
	file := filepath.Join(t.TempDir(), "pid")
	script := fmt.Sprintf(`setsid sh -c "echo \$\$ > %[1]s; exec sleep 200" & while [ ! -s %[1]s ]; do sleep 0.05; done`, file)
	if _, err := set(t, actions.Config{}).Run(t.Context(), hook(t, fmt.Sprintf(`exec: {shell: '%s'}`, script)), call("{}", nil)); err != nil {
		t.Error(err)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	pid := strings.TrimSpace(string(b))
	if !runs(pid) {
		t.Error("the stranger has ended, so the test shows nothing")
	}
	if err := exec.Command("kill", pid).Run(); err != nil {
		t.Error(err)
	}
	ends(t, pid)
}

// ends waits for the end of a process. A killed process may take a moment to end;
// one that was not killed would run on.
func ends(t *testing.T, pid string) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); runs(pid); <-time.After(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Errorf("process %s is still there", pid)
			return
		}
	}
}

// runs reports whether a process runs; a zombie does not.
func runs(pid string) bool {
	out, err := exec.Command("ps", "-o", "stat=", "-p", pid).Output()
	return err == nil && !strings.HasPrefix(strings.TrimSpace(string(out)), "Z")
}

// A command gets nothing of the app's environment but the usual variables and what
// its hook names: the others may be credentials.
func TestExecEnvironmentIsClean(t *testing.T) {
	t.Setenv("GITHUB_TOKEN", "the app's own")
	t.Setenv("WANTED", "yes")
	out, err := set(t, actions.Config{}).Run(t.Context(), hook(t, `exec: {argv: [env], inherit: [WANTED]}`), call(`{"file":"/etc/passwd","b":1,"a":2}`, nil))
	if err != nil {
		t.Fatal(err)
	}
	var fields []string
	for line := range strings.Lines(out.Output) {
		name, _, _ := strings.Cut(line, "=")
		switch {
		case strings.HasPrefix(name, "SLUICE_PAYLOAD_"):
			fields = append(fields, strings.TrimSpace(line))
		case strings.HasPrefix(name, "SLUICE_"), name == "WANTED", slices.Contains([]string{"PATH", "HOME", "LANG", "TZ", "TMPDIR"}, name):
		default:
			t.Errorf("the command has %s", name)
		}
	}
	if !strings.Contains(out.Output, "WANTED=yes\n") || !strings.Contains(out.Output, "PATH=") {
		t.Errorf("environment %s", out.Output)
	}
	if want := []string{"SLUICE_PAYLOAD_B=1", "SLUICE_PAYLOAD_A=2"}; !slices.Equal(fields, want) {
		t.Errorf("fields %q, want %q", fields, want)
	}
}

// An action gets the secrets that it names. They are in no outcome and no log line,
// and neither a condition nor a concurrency key can name one.
func TestSecretsByReference(t *testing.T) {
	const value = "s3cret-value"
	c := actions.Config{Secrets: map[string]string{"DEPLOY_TOKEN": value}}
	h := hook(t, `exec: {shell: 'echo "$TOKEN"; test "$TOKEN" = s3cret-value', env: {TOKEN: '{{ secret("DEPLOY_TOKEN") }}'}}`)
	var log bytes.Buffer
	out, err := set(t, c).Run(t.Context(), h, call(`{}`, slog.New(slog.NewTextHandler(&log, nil))))
	if err != nil || out.Output != "***\n" {
		t.Errorf("outcome %+v, error %v", out, err)
	}
	if strings.Contains(log.String(), value) || !strings.Contains(log.String(), "line=***") {
		t.Errorf("log %s", log.String())
	}
	if err := set(t, c).Missing(h); err != nil {
		t.Error(err)
	}
	if err := set(t, actions.Config{}).Missing(h); err == nil || !strings.Contains(err.Error(), "SECRETS") {
		t.Errorf("a secret that is not there: %v", err)
	}
	if does, err := actions.Describe(hook(t, `http: {url: 'https://x.example/{{secret("DEPLOY_TOKEN")}}'}`), call(`{}`, nil).Event); err != nil || strings.Join(does, " ") != "POST https://x.example/***" {
		t.Errorf("described as %v, error %v", does, err)
	}
	for _, text := range []string{
		"when: secret(\"A\") == \"x\"\n    action: {log: {}}", "concurrency_key: '{{secret(\"A\")}}'\n    action: {log: {}}",
		"action: {exec: {argv: [echo, '{{secret(payload.name)}}']}}",
	} {
		if _, err := hooks.Parse("test", []byte("hooks:\n  - name: x\n    "+text+"\n")); err == nil {
			t.Errorf("accepted: %s", text)
		}
	}
}
