package service_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"sluice/infra/testkit"
)

const secret = "It's a Secret to Everybody"

// proc is a running process of the app.
type proc struct {
	*testkit.Process
	t   *testing.T
	url string
}

// start runs the app on a free port and waits until it is healthy.
func start(t *testing.T, env ...string) *proc {
	t.Helper()
	p := launch(t, env...)
	p.wait("health", func() bool {
		code, _ := p.get("/healthz")
		return code == http.StatusOK
	})
	return p
}

// launch runs the app and waits until it listens.
func launch(t *testing.T, env ...string) *proc {
	t.Helper()
	cmd := exec.Command(testkit.Program(t, program), "serve")
	cmd.Env = append(os.Environ(), append([]string{
		"PORT=0", "LISTEN_HOST=127.0.0.1", "LOG_FORMAT=json", "LOG_LEVEL=debug",
		"WEBHOOK_ROUTES=/webhooks/github=github,/webhooks/slack/events=slack,/hooks/*=generic", "ALLOW_UNVERIFIED=true",
		"GITHUB_WEBHOOK_SECRET=" + secret, "GITHUB_API_URL=http://127.0.0.1:1",
	}, env...)...)
	p := &proc{Process: testkit.Start(t, cmd), t: t}
	p.url = "http://" + p.waitLogged("App listening")["addr"].(string)
	return p
}

// logged returns the first log entry with that message.
func (p *proc) logged(msg string) (map[string]any, bool) {
	if found := p.Output.Records(msg); len(found) > 0 {
		return found[0], true
	}
	return nil, false
}

// wait polls until ok returns true, or fails the test.
func (p *proc) wait(what string, ok func() bool) {
	p.t.Helper()
	testkit.Eventually(p.t, what, ok)
}

// waitLogged waits for the first log entry with that message.
func (p *proc) waitLogged(msg string) map[string]any {
	p.t.Helper()
	return p.WaitRecords(1, msg)[0]
}

func (p *proc) get(path string) (int, string) {
	resp, err := http.Get(p.url + path) //nolint:noctx // bounded by the test
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, strings.TrimSpace(string(b))
}

// post sends a signed GitHub webhook.
func (p *proc) post(delivery, body string, header ...string) (int, string) {
	return p.postBytes(delivery, []byte(body), header...)
}

func (p *proc) postBytes(delivery string, body []byte, header ...string) (int, string) {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(body)
	return p.send("/webhooks/github", body, append([]string{
		"X-Hub-Signature-256", "sha256=" + hex.EncodeToString(mac.Sum(nil)),
		"X-GitHub-Delivery", delivery,
		"X-GitHub-Event", "push",
	}, header...)...)
}

// send posts a body; header is a name, its value, the next name, and so on.
func (p *proc) send(path string, body []byte, header ...string) (int, string) {
	ctx, cancel := context.WithTimeout(context.Background(), testkit.Patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url+path, bytes.NewReader(body))
	if err != nil {
		return 0, err.Error()
	}
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, strings.TrimSpace(string(b))
}

// hooksFile writes rules with one exec hook that runs a shell script.
func hooksFile(t *testing.T, script string) string {
	t.Helper()
	dir := t.TempDir()
	sh := filepath.Join(dir, "hook.sh")
	write(t, sh, "#!/bin/sh\n"+script+"\n")
	file := filepath.Join(dir, "hooks.yaml")
	write(t, file, fmt.Sprintf("hooks:\n  - name: record\n    source: \"*\"\n    event: \"*\"\n    require_verified: false\n    action:\n      exec: {argv: [/bin/sh, %q], timeout: 120s}\n", sh))
	return "HOOKS_FILE=" + file
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func lines(t *testing.T, file string) []string {
	t.Helper()
	b, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(string(b))
}

func openPool(t *testing.T, url string) *pgxpool.Pool {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

// count runs a query that returns one number.
func count(t *testing.T, pool *pgxpool.Pool, sql string, args ...any) int {
	t.Helper()
	var n int
	if err := pool.QueryRow(t.Context(), sql, args...).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}
