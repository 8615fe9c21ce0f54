package check

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"sluice/infra/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// invariant is what must be true of a process in every home.
type invariant struct {
	name  string
	wrong func(p process) string // "" for nothing
}

var invariants = []invariant{
	{"the process knows when it is killed", func(p process) string {
		grace, _ := strconv.Atoi(p.env["TERMINATION_GRACE_SECONDS"])
		if grace == 0 || time.Duration(grace)*time.Second != p.killedAfter {
			return "TERMINATION_GRACE_SECONDS is " + p.env["TERMINATION_GRACE_SECONDS"] + ", it is killed after " + p.killedAfter.String()
		}
		return ""
	}},
	{"it is stopped by SIGTERM", func(p process) string {
		if p.signal != "SIGTERM" {
			return "by " + p.signal // SIGINT means "drop everything" to many apps
		}
		return ""
	}},
	{"the sidecar does not depend on the app", func(p process) string {
		if p.sidecar && slices.Contains(p.startsAfter, "app") {
			return "it would be stopped first, and nobody would hold"
		}
		return ""
	}},
	{"where there is an order, the app depends on the sidecar", func(p process) string {
		ordered := !strings.HasPrefix(p.home, "azure") && p.home != "kubernetes, plain"
		if ordered && !p.sidecar && !slices.Contains(p.startsAfter, "sidecar") {
			return "it may be stopped last"
		}
		return ""
	}},
	{"no startup waits for itself", func(p process) string {
		if !p.sidecar && p.awaited == "/startupz" {
			return "the app starts after /startupz, which waits for the app (STARTUP_GATE=app)"
		}
		return ""
	}},
	{"a secret is not written down", func(p process) string {
		for name, value := range p.env {
			if regexp.MustCompile(`(SECRET|TOKEN|KEY)$`).MatchString(name) && value != "" {
				return name
			}
		}
		return ""
	}},
}

func TestHomesKeepTheInvariants(t *testing.T) {
	all := homes(t)
	if len(all) != 14 {
		t.Fatalf("%d processes are found", len(all))
	}
	for _, p := range all {
		for _, i := range invariants {
			if wrong := i.wrong(p); wrong != "" {
				t.Errorf("%s, %s: not true that %s: %s", p.home, p.role(), i.name, wrong)
			}
		}
	}
}

// Each rule is broken by what it is there to find.
func TestInvariantsFindWhatIsWrong(t *testing.T) {
	good := process{home: "x", env: map[string]string{"TERMINATION_GRACE_SECONDS": "30"}, killedAfter: 30 * time.Second, signal: "SIGTERM", startsAfter: []string{"sidecar"}}
	for n, spoil := range []func(p *process){
		func(p *process) { p.killedAfter = 10 * time.Second },
		func(p *process) { p.signal = "SIGINT" },
		func(p *process) { p.sidecar, p.startsAfter = true, []string{"app"} },
		func(p *process) { p.startsAfter = nil },
		func(p *process) { p.awaited = "/startupz" },
		func(p *process) {
			p.env = map[string]string{"TERMINATION_GRACE_SECONDS": "30", "SLUICE_SECRET": "hunter2"}
		},
	} {
		p := good
		spoil(&p)
		for i, rule := range invariants {
			if wrong := rule.wrong(p); (wrong != "") != (i == n) {
				t.Errorf("case %d, %s: %q", n, rule.name, wrong)
			}
		}
	}
}

// Every variable is a setting of the program that gets it, and every probe path
// one that the sidecar answers: it is asked.
func TestHomesNameWhatExists(t *testing.T) {
	settings := map[string]string{}
	sidecar := build(t, "sidecar")
	for role, program := range map[string]string{"sidecar": sidecar, "app": build(t, "app")} {
		out, err := exec.Command(program, "config", "--describe").CombinedOutput()
		if err != nil {
			t.Fatalf("%s config --describe: %v\n%s", role, err, out)
		}
		settings[role] = string(out)
	}
	senders, err := os.ReadFile(filepath.Join(root, "docs/senders.md")) // their secrets are no fields
	if err != nil {
		t.Fatal(err)
	}
	for _, own := range []string{"AZURE_CLIENT_ID", "GOMEMLIMIT", "NODE_ENV"} { // of Azure's library, of Go
		settings["sidecar"] += "`" + own + "`"
		settings["app"] += "`" + own + "`"
	}
	probes := testkit.Address(t)
	cmd := exec.Command(sidecar, "serve")
	cmd.Env = []string{"DATABASE_URL=postgres://127.0.0.1:1/none", "LISTEN_ADDR=" + testkit.Address(t), "PROBE_ADDR=" + probes, "CONTROL_ADDR=" + testkit.Address(t)}
	testkit.Start(t, cmd)
	testkit.Eventually(t, "the sidecar listens", func() bool { return status("http://"+probes+"/livez") == http.StatusOK })
	asked := 0
	for _, p := range homes(t) {
		for name := range p.env {
			bare := "`" + strings.TrimSuffix(name, "_FILE") + "`"
			if !strings.Contains(settings[p.role()], bare) && !strings.Contains(settings[p.role()], "`"+name+"`") && !strings.Contains(string(senders), bare) {
				t.Errorf("%s: %s is no setting of the %s", p.home, name, p.role())
			}
		}
		for _, path := range p.probes {
			asked++
			if got := status("http://" + probes + path); got != http.StatusOK && got != http.StatusServiceUnavailable {
				t.Errorf("%s: the sidecar answers %s with %d", p.home, path, got)
			}
		}
	}
	if asked < 10 {
		t.Errorf("only %d probes", asked)
	}
}

func status(url string) int {
	resp, err := (&http.Client{Timeout: testkit.Patience}).Get(url)
	if err != nil {
		return 0
	}
	resp.Body.Close()
	return resp.StatusCode
}

// build builds a program in the tree's workspace, which this module is not in.
func build(t *testing.T, name string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	cmd := exec.Command("go", "build", "-o", file, "./"+name+"/cmd/"+name)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "GOWORK=")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", name, err, out)
	}
	return file
}
