package main

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/uuid"

	"sluice/infra/testkit"
	"sluice/sidecar/internal/buffer"
	"sluice/sidecar/internal/webhook"
)

// asCommand makes the test's binary the command itself, for real processes.
const asCommand = "SIDECAR_TEST_AS_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		os.Exit(run(os.Args[1:]))
	}
	testkit.Main(m)
}

// sidecar runs the command with an empty stdin, as a script does.
func sidecar(t *testing.T, env []string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	c := exec.CommandContext(t.Context(), os.Args[0], args...)
	c.Env = append([]string{asCommand + "=1", "PATH=" + os.Getenv("PATH")}, env...)
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	if err := c.Run(); c.ProcessState == nil {
		t.Fatal(err)
	}
	return c.ProcessState.ExitCode(), out.String(), errs.String()
}

// deadLetters returns the URL of a fresh database with n failed webhooks.
func deadLetters(t *testing.T, n int) (url string) {
	t.Helper()
	url = testkit.Database(t)
	ctx := t.Context()
	s, err := buffer.Open(ctx, buffer.Config{URL: url, Instance: uuid.NewString()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Migrate(ctx); err != nil {
		t.Fatal(err)
	}
	for range n {
		if _, err := s.Append(ctx, &webhook.Webhook{ID: uuid.Must(uuid.NewV7()).String(), Source: "github", Lane: "l"}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Join(ctx, "passing"); err != nil {
		t.Fatal(err)
	}
	leases, _, _, err := s.RenewLeases(ctx, false)
	if err != nil {
		t.Fatal(err)
	}
	rows, _, err := s.Claim(ctx, leases, buffer.ClaimFilter{})
	if err != nil || len(rows) != n {
		t.Fatalf("claimed %d, %v", len(rows), err)
	}
	var out []buffer.Outcome
	for _, r := range rows {
		out = append(out, buffer.Outcome{QueueID: r.QueueID, Epoch: r.Epoch, Result: buffer.Failed, Attempt: 1, Reason: "status 404"})
	}
	if err := s.Settle(ctx, out); err != nil {
		t.Fatal(err)
	}
	return url
}

func TestQueueRetry(t *testing.T) {
	url := deadLetters(t, 5)
	env := []string{"DATABASE_URL=" + url}
	for _, c := range []struct {
		args, out string
	}{
		{"--source slack", "RETRIED  0\n"},
		{"--suspect --output json", "{\"retried\":0}\n"},
		{"--id 1,2 --source github --output json", "{\"retried\":2}\n"},
		{"--id 3 --id 1 --yes", "RETRIED  1\n"},
		{"--all", "RETRIED  2\n"},
		{"--all", "RETRIED  0\n"},
	} {
		code, out, errs := sidecar(t, env, append([]string{"queue", "retry"}, strings.Fields(c.args)...)...)
		if code != 0 || out != c.out || errs != "" {
			t.Errorf("queue retry %s: exit code %d, %q, %q", c.args, code, out, errs)
		}
	}
	if code, out, _ := sidecar(t, nil, "queue", "retry", "--all", "--database-url", url); code != 0 || out != "RETRIED  0\n" {
		t.Errorf("with --database-url: exit code %d, %q", code, out)
	}
}

func TestQueueRetryRefused(t *testing.T) {
	const nowhere = "postgres://u:hunter2@127.0.0.1:1/db"
	for _, c := range []struct {
		args, url string
		code      int
		says      string
	}{
		{"queue retry", nowhere, exitUsage, "say which"},
		{"queue retry --all --suspect", nowhere, exitUsage, "use it alone"},
		{"queue retry --all --output xml", nowhere, exitUsage, "table or json"},
		{"queue retry --id x", nowhere, exitUsage, "--id"},
		{"queue retry --all", "", exitUsage, "DATABASE_URL"},
		{"queue retry --all", nowhere, exitFailed, "database unavailable"},
		{"queue retry --all", testkit.Database(t), exitFailed, "run sidecar migrate first"},
		{"queue nonsense", nowhere, exitUsage, "nonsense"},
	} {
		code, out, errs := sidecar(t, []string{"DATABASE_URL=" + c.url}, strings.Fields(c.args)...)
		if code != c.code || out != "" || !strings.Contains(errs, c.says) || strings.Contains(errs, "hunter2") {
			t.Errorf("%s: exit code %d, %q, %q", c.args, code, out, errs)
		}
	}
	code, out, _ := sidecar(t, nil, "--help")
	if code != 0 || !strings.Contains(out, "queue retry") {
		t.Errorf("--help: exit code %d, %s", code, out)
	}
}

func TestConfirmed(t *testing.T) {
	for answer, want := range map[string]bool{"y\n": true, "Yes\n": true, "y": true, "n\n": false, "\n": false, "": false, "yep\n": false} {
		if confirmed(strings.NewReader(answer), io.Discard, 3) != want {
			t.Errorf("%q: confirmed is not %v", answer, want)
		}
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	if isTerminal(null) {
		t.Error("the null device is taken for a terminal")
	}
	if terminal, err := os.Open("/dev/ptmx"); err == nil {
		defer terminal.Close()
		if !isTerminal(terminal) {
			t.Error("a terminal is not taken for one")
		}
	}
}
