package rehearsal

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sluice/infra/leaks"
	"sluice/infra/postgres"
	"sluice/infra/rehearsal/report"
	"sluice/infra/testkit"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "serve" {
		standIn()
	}
	testkit.Main(m)
}

// setUp returns a short rehearsal of the stand-ins on a server of its own.
func setUp(t *testing.T, scenario, fault string) Config {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	recorder := testkit.PlainProgram(t, "sluice/infra/cmd/recorder")
	c := Defaults()
	c.Scenario = scenario
	c.Programs = Programs{Sidecar: self, App: self, Recorder: recorder}
	c.Rate, c.Duration, c.Senders = 60, 2*time.Second, 3
	c.Linger, c.Overlap, c.Backoff, c.BootDelay = 400*time.Millisecond, 300*time.Millisecond, 300*time.Millisecond, time.Second
	c.Work, c.Grace = 4*time.Second, 2*time.Minute
	c.SettleLimit = time.Minute
	if fault == "lose" { // the lost webhooks never arrive
		c.SettleLimit = 5 * time.Second
	}
	c.Dir, c.Env = t.TempDir(), []string{faultVar + "=" + fault}
	if scenario == "db-away" {
		c.Server = testkit.Server(t, postgres.Options{})
		c.DatabaseURL = c.Server.URL
	} else {
		c.DatabaseURL = testkit.Database(t)
	}
	c.Progress = func(line string) { t.Log(line) }
	return c
}

func play(t *testing.T, c Config) *report.Report {
	t.Helper()
	r, err := Run(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	if err := report.Text(&text, r); err != nil {
		t.Fatal(err)
	}
	t.Log("\n" + text.String())
	return r
}

func TestCorrectStandInsPassEveryScenario(t *testing.T) {
	for _, scenario := range Scenarios() {
		t.Run(scenario, func(t *testing.T) {
			t.Parallel()
			c := setUp(t, scenario, "")
			r := play(t, c)
			v := r.Verdict
			if !r.Good() {
				t.Error("not good")
			}
			if want := int(float64(c.Rate) * c.Duration.Seconds()); v.Sent < want {
				t.Errorf("sent %d, want at least %d", v.Sent, want)
			}
			if v.Delivered < v.Acknowledged {
				t.Errorf("delivered %d of %d", v.Delivered, v.Acknowledged)
			}
			if scenario != "db-away" && len(r.Latencies.ColdStart) == 0 {
				t.Error("no cold start was measured")
			}
			entries, err := os.ReadDir(c.Dir)
			if err != nil || len(entries) > 0 {
				t.Errorf("a good run left %v, %v", entries, err)
			}
		})
	}
}

func TestRolledDeployTimesHeldWebhooks(t *testing.T) {
	t.Parallel()
	r := play(t, setUp(t, Rolled, ""))
	if !r.Good() || len(r.Latencies.HeldToTaken) == 0 {
		t.Errorf("good %v, %d held webhooks timed", r.Good(), len(r.Latencies.HeldToTaken))
	}
}

func TestFaultsAreFound(t *testing.T) {
	for fault, count := range map[string]func(*report.Report) int{
		"lose":    func(r *report.Report) int { return len(r.Verdict.Lost) },
		"reorder": func(r *report.Report) int { return len(r.Verdict.OutOfOrder) },
		"twice":   func(r *report.Report) int { return len(r.Verdict.Unexplained) },
		"damage":  func(r *report.Report) int { return len(r.Verdict.Damaged) },
	} {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			r := play(t, setUp(t, "crash-app", fault))
			if count(r) == 0 || r.Good() {
				t.Errorf("found %d, good %v", count(r), r.Good())
			}
		})
	}
}

func TestSignalOrder(t *testing.T) {
	for _, first := range []string{"app", "sidecar"} {
		t.Run(first, func(t *testing.T) {
			t.Parallel()
			c := setUp(t, "deploy", "")
			c.Signal.First, c.Signal.Lead = first, time.Second
			r := play(t, c)
			if !r.Good() {
				t.Error("not good")
			}
			var order []string
			for _, e := range r.Events {
				if who, ok := strings.CutPrefix(e.What, "SIGTERM to the "); ok {
					order = append(order, who)
				}
			}
			if len(order) != 2 || order[0] != first {
				t.Errorf("signalled %v, want %s first", order, first)
			}
		})
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	c := setUp(t, "deploy", "")
	ctx, cancel := context.WithCancel(t.Context())
	c.Progress = func(string) { cancel() }
	c.Duration = time.Minute
	running := goleak.IgnoreCurrent()
	if _, err := Run(ctx, c); err == nil {
		t.Error("a run that was cut off gave a report")
	}
	if err := leaks.Find(running); err != nil {
		t.Error(err)
	}
}

func TestProcessThatEndsByItselfIsAFault(t *testing.T) {
	t.Parallel()
	c := setUp(t, "crash-app", "die")
	if r := play(t, c); len(r.Faults) == 0 || r.Good() {
		t.Errorf("faults %v, good %v", r.Faults, r.Good())
	}
}

func TestConfigurationListsEveryProblem(t *testing.T) {
	c := Defaults()
	c.Scenario, c.Rate, c.Order = "moon", 0, "any"
	_, err := Run(t.Context(), c)
	for _, want := range []string{"moon", "rate 0", `order "any"`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not name %q", err, want)
		}
	}
}
