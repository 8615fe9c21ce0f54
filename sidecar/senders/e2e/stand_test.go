// Package e2e puts apps that are built on the vendors' own SDKs behind a real
// sidecar with a real PostgreSQL, and holds it to what those SDKs accept. It
// has tests only. The apps are in apps/; they need Node and npm.
package e2e

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"sluice/infra/testkit"
	_ "sluice/sidecar/internal/supervise" // what is built and run, so that a cached result ends with it
)

func TestMain(m *testing.M) { testkit.Main(m) }

const (
	limit   = 90 * time.Second // for anything to come about
	install = 10 * time.Minute
)

// programs builds the sidecar and installs the apps' packages, or skips.
func programs(t *testing.T) (sidecar string) {
	t.Helper()
	for _, program := range []string{"node", "npm"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%s is not installed: the vendors' SDKs can't run", program)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), install)
	defer cancel()
	installApps(ctx, t)
	return testkit.PlainProgram(t, "sluice/sidecar/cmd/sidecar")
}

// installApps runs npm ci unless node_modules is that of the lock file already.
func installApps(ctx context.Context, t *testing.T) {
	t.Helper()
	lock, err := os.ReadFile("apps/package-lock.json")
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(lock)
	want := hex.EncodeToString(sum[:])
	const mark = "apps/node_modules/.lock.sha256"
	if have, err := os.ReadFile(mark); err == nil && string(have) == want {
		return
	}
	run(ctx, t, "apps", "npm", "ci", "--no-audit", "--no-fund")
	if err := os.WriteFile(mark, []byte(want), 0o600); err != nil {
		t.Fatal(err)
	}
}

func run(ctx context.Context, t *testing.T, dir string, command ...string) {
	t.Helper()
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Dir = dir
	if output, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(command, " "), err, output)
	}
}

// stand is one app behind one sidecar.
type stand struct {
	t                  *testing.T
	vendor             vendor
	binary, database   string
	ledger             string
	appAt, publicAt    string
	probeAt, controlAt string
	app, sidecar       *testkit.Process
	expected           []string // ids that the SDK must accept, each once
	connection         *pgx.Conn
}

func newStand(t *testing.T, binary string, v vendor) *stand {
	t.Helper()
	s := &stand{t: t, vendor: v, binary: binary, database: testkit.Database(t), ledger: filepath.Join(t.TempDir(), "ledger")}
	for _, address := range []*string{&s.appAt, &s.publicAt, &s.probeAt, &s.controlAt} {
		*address = testkit.Address(t)
	}
	connection, err := pgx.Connect(t.Context(), s.database)
	if err != nil {
		t.Fatal(err)
	}
	s.connection = connection
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		connection.Close(ctx)
	})
	return s
}

func (s *stand) startSidecar(more ...string) {
	s.t.Helper()
	s.sidecar = start(s.t, "", append([]string{
		"DATABASE_URL=" + s.database,
		"LISTEN_ADDR=" + s.publicAt, "PROBE_ADDR=" + s.probeAt, "CONTROL_ADDR=" + s.controlAt,
		"APP_URL=http://" + s.appAt, "LOG_FORMAT=json",
		"WEBHOOK_ROUTES=" + s.vendor.routes,
		"HOLD_TIMEOUT=30s", "APP_PROBE_TIMEOUT=30s", // a slow machine is no outage
	}, more...), s.binary, "serve")
	s.eventually("the sidecar takes webhooks", func() bool {
		resp, err := http.Get("http://" + s.probeAt + "/readyz")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
}

func (s *stand) startApp() {
	s.t.Helper()
	_, port, _ := net.SplitHostPort(s.appAt)
	s.app = start(s.t, "apps", []string{
		"PORT=" + port, "LEDGER=" + s.ledger, "SECRET=" + s.vendor.secret,
	}, "node", s.vendor.script)
}

// passing waits until the sidecar holds nothing back.
func (s *stand) passing() {
	s.t.Helper()
	s.eventually("the sidecar passes", func() bool { return s.state() == "passing" })
}

// waiting waits until one webhook is held and stays so: before the sidecar knows
// that the app is away, it is tried and comes back.
func (s *stand) waiting() {
	s.t.Helper()
	s.eventually("one webhook waits", func() bool {
		state := s.state()
		return (state == "starting" || state == "holding") && s.rows("processing") == 0 && s.rows("pending") == 1
	})
}

func (s *stand) state() string {
	resp, err := http.Get("http://" + s.publicAt + "/healthz")
	if err != nil {
		return ""
	}
	defer resp.Body.Close()
	var health struct{ State string }
	if json.NewDecoder(resp.Body).Decode(&health) != nil {
		return ""
	}
	return health.State
}

func (s *stand) eventually(what string, check func() bool) {
	s.t.Helper()
	if !testkit.Within(limit, check) {
		s.t.Fatalf("after %v not yet: %s\nledger:\n%s", limit, what, s.read())
	}
}

type answer struct {
	status int
	held   bool
	body   string
}

func (s *stand) post(d delivery) answer {
	s.t.Helper()
	path := d.path
	if path == "" {
		path = s.vendor.path
	}
	req, err := http.NewRequestWithContext(s.t.Context(), "POST", "http://"+s.publicAt+path, bytes.NewReader(d.body))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header = d.header
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header.Get("Sluice-Status") == "held", string(text)}
}

func (s *stand) read() string {
	text, err := os.ReadFile(s.ledger)
	if err != nil && !os.IsNotExist(err) {
		s.t.Fatal(err)
	}
	return string(text)
}

// entries are the ledger's lines: what the app saw, what its SDK accepted.
func (s *stand) entries() (seen, replayed int, accepted map[string]int) {
	s.t.Helper()
	accepted = map[string]int{}
	for line := range strings.Lines(s.read()) {
		var entry struct {
			Seen     string
			Replayed bool
			Accepted string
		}
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			continue // being written
		}
		if entry.Seen != "" {
			seen++
		}
		if entry.Replayed {
			replayed++
		}
		if entry.Accepted != "" {
			accepted[entry.Accepted]++
		}
	}
	return seen, replayed, accepted
}

func (s *stand) acceptedEventually(id string) {
	s.t.Helper()
	s.expected = append(s.expected, id)
	s.eventually(s.vendor.script+" accepts "+id, func() bool {
		_, _, accepted := s.entries()
		return accepted[id] > 0
	})
}

func (s *stand) rows(status string) (n int) {
	s.t.Helper()
	if err := s.connection.QueryRow(s.t.Context(), `SELECT count(*) FROM webhook_queue WHERE status = $1`, status).Scan(&n); err != nil {
		s.t.Fatal(err)
	}
	return n
}

func start(t *testing.T, dir string, env []string, command ...string) *testkit.Process {
	t.Helper()
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Dir = dir
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME")}, env...)
	return testkit.Start(t, cmd)
}
