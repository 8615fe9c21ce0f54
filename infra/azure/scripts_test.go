package azure

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"sluice/infra/testkit"
)

const secret = "whsec-that-nobody-may-see"

// player returns the program that plays `az`. It is started some thousand times,
// and with the race detector each start costs three times as much: then another
// build of these tests plays.
var player = sync.OnceValues(func() (string, error) {
	if !testkit.Race {
		return os.Executable()
	}
	dir, err := os.MkdirTemp("", "standin-")
	if err != nil {
		return "", err
	}
	cleanUp = append(cleanUp, func() { _ = os.RemoveAll(dir) }) // a temporary directory
	program := filepath.Join(dir, "standin")
	if out, err := exec.Command("go", "test", "-c", "-o", program, ".").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the stand-in: %w\n%s", err, out)
	}
	return program, nil
})

// cleanUp is done when all tests are.
var cleanUp []func()

// stage is one cloud and what is run against it.
type stage struct {
	t   *testing.T
	dir string
	env []string
}

func newStage(t *testing.T, c cloud) *stage {
	t.Helper()
	if _, err := exec.LookPath("bash"); err != nil {
		t.Skip("no bash here: the scripts are not run")
	}
	s := &stage{t: t, dir: t.TempDir()}
	self, err := player()
	if err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(s.dir, "bin")
	if err := os.Mkdir(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, tool := range []string{"az", "curl", "docker"} {
		script := "#!/bin/sh\nSTANDIN_PART=" + tool + " exec '" + self + "' \"$@\"\n"
		if err := os.WriteFile(filepath.Join(bin, tool), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	options, err := filepath.Abs("testdata/az-options.json")
	if err != nil {
		t.Fatal(err)
	}
	s.env = []string{"PATH=" + bin + ":/usr/local/bin:/usr/bin:/bin", "HOME=" + s.dir, "STANDIN=" + s.dir,
		"STANDIN_OPTIONS=" + options, "SLUICE_POLL_SECONDS=0", "SLUICE_WAIT_SECONDS=30", "SLUICE_ROLE_SECONDS=0",
		"AZURE_RESOURCE_GROUP=sluice",
		"GITHUB_WEBHOOK_SECRET=" + secret, "SLUICE_SECRET=" + secret,
		"GORACE=atexit_sleep_ms=0"} // or each call would linger a second at its end
	s.set(c)
	return s
}

func empty() cloud {
	return cloud{Version: "2.90.0", SignedIn: true,
		SidecarLog: []string{`2026-01-01T00:00:00Z stderr F {"level":"INFO","msg":"Startup webhook queue replay complete","queuedWebhooksProcessed":42}`},
		Health:     `{"status":"ok","db":"connected","app":"healthy","state":"passing","held":0}`}
}

// running is a cloud with two revisions, of which the second serves.
func running(t *testing.T, mode string) cloud {
	t.Helper()
	c := empty()
	c.Secrets = []string{"buffer-key", "github-webhook-secret", "sluice-secret"}
	snapshot := readJSON(t, snapshotOf(root+"/bicep/main.bicepparam"))
	for _, tag := range []string{"one", "two"} {
		images := []string{"example.azurecr.io/sluice/app:" + tag, "example.azurecr.io/sluice/sidecar:" + tag}
		c.push("sluice/app:" + tag)
		c.push("sluice/sidecar:" + tag)
		if refused := c.deploy(wantedResources(snapshot, images), images, previous{}); refused != nil {
			t.Fatal(refused)
		}
		c.Config["activeRevisionsMode"] = mode
		if mode == "Multiple" {
			for i := range c.Revisions {
				c.Revisions[i].Active = true
			}
		}
	}
	c.Deployments = map[string]deployment{"sluice-sluice": {State: "Succeeded"}}
	return c
}

func (s *stage) set(c cloud) {
	s.t.Helper()
	text, err := json.Marshal(c)
	if err == nil {
		err = os.WriteFile(filepath.Join(s.dir, "cloud.json"), text, 0o600)
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *stage) cloud() cloud {
	s.t.Helper()
	var c cloud
	if err := json.Unmarshal(readFile(s.t, filepath.Join(s.dir, "cloud.json")), &c); err != nil {
		s.t.Fatal(err)
	}
	return c
}

// pasted finds the commands that a script prints to be pasted.
var pasted = regexp.MustCompile(`\baz ((?:[a-z][a-z-]* )+(?:--[a-z-]+ [^ \n]+ ?)+)`)

// run runs a script, and holds what is true of every run: no secret is printed
// or on a command line, and no option is one that the real `az` refuses.
func (s *stage) run(script string, args ...string) (output string, code int) {
	s.t.Helper()
	cmd := exec.CommandContext(s.t.Context(), root+"/scripts/"+script, args...)
	cmd.Env = s.env
	text, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		s.t.Fatal(err)
	}
	output = string(text)
	if strings.Contains(output, secret) || strings.Contains(string(s.recorded()), secret) {
		s.t.Error("a secret is printed or on a command line")
	}
	if regexp.MustCompile(`ERROR: usage|unbound variable|syntax error|command not found`).MatchString(output) {
		s.t.Errorf("scripts/%s %v:\n%s", script, args, output)
	}
	for _, m := range pasted.FindAllStringSubmatch(output, -1) {
		if _, err := s.parse(strings.Fields(m[1])); err != nil {
			s.t.Errorf("scripts/%s says to run az %s: %v", script, m[1], err)
		}
	}
	for _, k := range s.calls() {
		if strings.HasPrefix(k.Command, "docker ") {
			continue
		}
		if _, err := s.parse(k.Args); err != nil {
			s.t.Errorf("az %v: %v", k.Args, err)
		}
	}
	return output, cmd.ProcessState.ExitCode()
}

func (s *stage) parse(args []string) (call, error) {
	s.t.Setenv("STANDIN_OPTIONS", "testdata/az-options.json")
	return parse(args)
}

func (s *stage) recorded() []byte {
	text, _ := os.ReadFile(filepath.Join(s.dir, "calls")) // none yet
	return text
}

func (s *stage) calls() []call {
	s.t.Helper()
	var calls []call
	for line := range strings.Lines(string(s.recorded())) {
		var k call
		if err := json.Unmarshal([]byte(line), &k); err != nil {
			s.t.Fatal(err)
		}
		calls = append(calls, k)
	}
	return calls
}

// changes lists the calls that change something, in order.
func (s *stage) changes() []string {
	s.t.Helper()
	var changes []string
	for _, k := range s.calls() {
		if k.option("--method") == "get" {
			continue
		}
		last := k.Command[strings.LastIndexByte(k.Command, ' ')+1:]
		if slices.Contains([]string{"create", "build", "copy", "activate", "deactivate", "set", "start", "rest", "update", "register", "push"}, last) {
			changes = append(changes, k.Command)
		}
	}
	return changes
}

func wants(t *testing.T, output string, code, wantCode int, parts ...string) {
	t.Helper()
	if code != wantCode {
		t.Errorf("exit status %d, want %d", code, wantCode)
	}
	for _, p := range parts {
		if !strings.Contains(output, p) {
			t.Errorf("not in the output: %q", p)
		}
	}
	if t.Failed() {
		t.Log(output)
	}
}

func TestScriptsPassShellcheck(t *testing.T) {
	if _, err := exec.LookPath("shellcheck"); err != nil {
		t.Skip("no shellcheck here: the scripts are not linted")
	}
	for _, script := range []string{"deploy", "status", "rollback", "adopt", "leave", "azure-rehearsal", "azure.sh"} {
		out, err := exec.Command("shellcheck", "--external-sources", root+"/scripts/"+script).CombinedOutput()
		if err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	}
}
