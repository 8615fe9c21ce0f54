package examples_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"sluice/infra/rehearsal/balancer"
	"sluice/infra/rehearsal/replica"
	"sluice/infra/rehearsal/sender"
	"sluice/infra/rehearsal/timeline"
	"sluice/infra/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

var secrets = sender.Secrets{GitHub: "github-secret", Slack: "slack-secret"}

// app is one of the examples: its file and its command.
type app struct {
	name, file string
	command    func(t *testing.T, file string) []string
}

var apps = []app{
	{"go", "go/main.go", func(t *testing.T, _ string) []string {
		return []string{testkit.PlainProgram(t, "sluice/app/examples/go")}
	}},
	{"node", "node/app.mjs", interpreted("node")},
	{"python", "python/app.py", interpreted("python3")},
}

func interpreted(with string) func(*testing.T, string) []string {
	return func(t *testing.T, file string) []string {
		t.Helper()
		path, err := exec.LookPath(with)
		if err != nil {
			t.Skip(with + " is not installed")
		}
		abs, err := filepath.Abs(file)
		if err != nil {
			t.Fatal(err)
		}
		return []string{path, abs}
	}
}

// The page shows exactly the code that is tested here.
func TestPageShowsTheApps(t *testing.T) {
	page, err := os.ReadFile("../../docs/bring-your-own-app.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range apps {
		text, err := os.ReadFile(a.file)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(page), "\n"+strings.TrimSpace(string(text))+"\n```") {
			t.Errorf("the page does not show %s as it is", a.file)
		}
	}
}

// Behind the sidecar each app gets every acknowledged webhook, also during a deploy
// and crashes.
func TestNothingIsLost(t *testing.T) {
	sidecar := testkit.PlainProgram(t, "sluice/sidecar/cmd/sidecar")
	for _, a := range apps {
		for _, scenario := range []struct {
			name string
			play func(*stage)
		}{{"deploy", deploy}, {"crash-app", crash}} {
			t.Run(a.name+" "+scenario.name, func(t *testing.T) {
				s := &stage{t: t, sidecar: sidecar, command: a.command(t, a.file), dir: t.TempDir(), database: testkit.Database(t)}
				s.ledger = filepath.Join(s.dir, "ledger")
				s.run(scenario.play)
			})
		}
	}
}

const (
	webhooks = 240 // at least
	rate     = 60
	grace    = 120 * time.Second
)

// stage is one run of one app in one scenario.
type stage struct {
	t                              *testing.T
	sidecar, dir, ledger, database string
	command                        []string
	log                            timeline.Log
	balancer                       *balancer.Balancer
	first                          *replica.Replica
}

func (s *stage) run(play func(*stage)) {
	var err error
	if s.balancer, err = balancer.Open(balancer.Options{ProbeEvery: 50 * time.Millisecond}, &s.log); err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = s.balancer.Close() }()
	s.first = s.start("rev1")
	fleet := sender.New(sender.Options{
		URL: s.balancer.URL(), Rate: rate, Count: 1000 * webhooks, PerLane: 2, Lanes: 1, Bytes: 1024, Retry: true, MaxTries: 20, Secrets: secrets,
	})
	defer fleet.Close()
	// The senders go on until some webhooks were held, however slow the machine is.
	ctx, enough := context.WithCancel(s.t.Context())
	defer enough()
	var sending sync.WaitGroup
	sending.Go(func() { fleet.Run(ctx) })
	sending.Go(func() {
		defer enough()
		s.eventually("webhook that was held", func() bool {
			n := fleet.Ledger.Count()
			return n.Acknowledged >= webhooks && n.Held > 0
		})
	})
	play(s)
	sending.Wait()

	held := 0
	var missing []string
	s.eventually("end of the queue", s.queueEmpty)
	taken := s.taken()
	for _, w := range fleet.Ledger.Webhooks() {
		try := w.Acknowledged()
		if try == nil {
			continue
		}
		if try.Held {
			held++
		}
		if !taken[w.Hash] {
			missing = append(missing, w.ID)
		}
	}
	count := fleet.Ledger.Count()
	s.t.Logf("sent %d, acknowledged %d, held %d, lost %d", count.Sent, count.Acknowledged, held, len(missing))
	if len(missing) > 0 {
		s.t.Errorf("acknowledged and never delivered: %v", missing)
	}
	if count.Acknowledged < count.Sent*9/10 || held == 0 {
		s.t.Errorf("of %d webhooks %d were acknowledged, %d of them held", count.Sent, count.Acknowledged, held)
	}
	if s.t.Failed() {
		s.showLogs()
	}
}

func deploy(s *stage) {
	s.delivered(webhooks / 4)
	s.start("rev2")
	exit := s.first.Terminate(s.t.Context(), replica.Order{}, grace, func(time.Time) { s.balancer.Leave(s.t.Context(), s.first.Name, 500*time.Millisecond) })
	if exit.App != 0 || exit.AppCut {
		s.t.Errorf("the app ended with %d, cut off: %t", exit.App, exit.AppCut)
	}
}

func crash(s *stage) {
	for _, n := range []int{webhooks / 4, webhooks / 2} {
		s.delivered(n)
		s.first.CrashApp()
	}
}

// delivered waits until the app has recorded so many webhooks.
func (s *stage) delivered(n int) {
	s.t.Helper()
	s.eventually("delivery", func() bool { return len(s.taken()) >= n })
}

// start starts a replica and waits until it takes traffic.
func (s *stage) start(revision string) *replica.Replica {
	s.t.Helper()
	env := []string{
		"DATABASE_URL=" + s.database, "GITHUB_WEBHOOK_SECRET=" + secrets.GitHub, "SLACK_SIGNING_SECRET=" + secrets.Slack,
		"SLUICE_SECRET=between-the-two", "TERMINATION_GRACE_SECONDS=120", "LOG_FORMAT=json", "LEDGER=" + s.ledger,
		"HOLD_TIMEOUT=30s", "APP_PROBE_TIMEOUT=30s", // a slow machine must not look like an outage

	}
	nothing := func(replica.Ports, time.Time) {}
	r, err := replica.Start(s.t.Context(), replica.Spec{
		Name: revision, LogDir: s.dir, Backoff: 300 * time.Millisecond,
		Sidecar: func(p replica.Ports) replica.Command {
			return replica.Command{Path: s.sidecar, Args: []string{"serve"}, Env: append(env[:len(env):len(env)],
				"LISTEN_ADDR="+replica.Addr(p.Public), "PROBE_ADDR="+replica.Addr(p.Probe), "CONTROL_ADDR="+replica.Addr(p.Control),
				"APP_URL=http://"+replica.Addr(p.App), "CONTAINER_APP_REPLICA_NAME="+revision)}
		},
		App: func(p replica.Ports) replica.Command {
			return replica.Command{Path: s.command[0], Args: s.command[1:], Env: append(env[:len(env):len(env)], fmt.Sprintf("PORT=%d", p.App))}
		},
		SidecarStarted: nothing, AppStarted: nothing,
		Died: func(how string) { s.t.Errorf("%s's %s", revision, how) },
	}, &s.log)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(r.Close)
	select {
	case <-s.balancer.Add(r.Name, replica.Addr(r.Ports.Public), replica.Addr(r.Ports.Probe)):
	case <-time.After(testkit.Patience):
		s.showLogs()
		s.t.Fatalf("%s does not become ready", revision)
	}
	return r
}

func (s *stage) queueEmpty() bool {
	conn, err := pgx.Connect(s.t.Context(), s.database)
	if err != nil {
		return false
	}
	defer func() { _ = conn.Close(context.Background()) }()
	var waiting int
	err = conn.QueryRow(s.t.Context(), `SELECT count(*) FROM webhook_queue WHERE status <> 'completed'`).Scan(&waiting)
	return err == nil && waiting == 0
}

// taken returns the webhooks that the app has recorded, by the hash of their body.
func (s *stage) taken() map[uint64]bool {
	s.t.Helper()
	file, err := os.Open(s.ledger)
	if err != nil {
		return nil
	}
	defer func() { _ = file.Close() }()
	found := map[uint64]bool{}
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e struct {
			Body []byte `json:"body"`
		}
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			continue // cut short by a crash
		}
		h := fnv.New64a()
		_, _ = h.Write(e.Body)
		found[h.Sum64()] = true
	}
	return found
}

func (s *stage) showLogs() {
	files, _ := filepath.Glob(filepath.Join(s.dir, "*.log"))
	for _, file := range files {
		if b, err := os.ReadFile(file); !errors.Is(err, os.ErrNotExist) {
			s.t.Logf("%s:\n%s", filepath.Base(file), b)
		}
	}
}

// eventually fails the test but lets it go on, so that the processes are stopped.
func (s *stage) eventually(what string, ok func() bool) {
	s.t.Helper()
	if !testkit.Within(testkit.Patience, ok) {
		s.t.Errorf("no %s within %s", what, testkit.Patience)
	}
}
