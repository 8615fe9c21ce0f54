package azure

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const secret = "whsec-that-nobody-may-see"

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
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(s.dir, "bin")
	if err := os.Mkdir(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, tool := range []string{"az", "curl"} {
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
		"STANDIN_OPTIONS=" + options, "STANDIN_SECRETS=GITHUB_WEBHOOK_SECRET SLUICE_SECRET",
		"SLUICE_POLL_SECONDS=0", "SLUICE_WAIT_SECONDS=0.03", "AZURE_RESOURCE_GROUP=sluice",
		"GITHUB_WEBHOOK_SECRET=" + secret, "SLUICE_SECRET=" + secret,
		"GORACE=atexit_sleep_ms=0"} // or each call would linger a second at its end
	s.set(c)
	return s
}

func empty() cloud {
	return cloud{Version: "2.80.0", SignedIn: true, Mode: "Single", External: true, NextHealth: "Healthy",
		Health: `{"status":"ok","db":"connected","app":"healthy","state":"passing","held":0}`}
}

// running is a cloud with two revisions, of which the second serves.
func running(mode string) cloud {
	c := empty()
	c.Foundation, c.Mode = true, mode
	c.Secrets = []string{"github-webhook-secret", "sluice-secret"}
	for _, tag := range []string{"one", "two"} {
		images := []string{"sluicereg.azurecr.io/sluice/app:" + tag, "sluicereg.azurecr.io/sluice/sidecar:" + tag}
		c.Images = append(c.Images, "sluice/app:"+tag, "sluice/sidecar:"+tag)
		c.revise(images)
	}
	c.Revisions[1].Weight = 100
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
	for _, k := range s.calls() {
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
		last := k.Command[strings.LastIndexByte(k.Command, ' ')+1:]
		if slices.Contains([]string{"create", "build", "copy", "activate", "set", "what-if"}, last) {
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

func TestFirstDeployMakesEverything(t *testing.T) {
	s := newStage(t, empty())
	out, code := s.run("deploy", "--yes", "--tag", "abc")
	wants(t, out, code, 0, "First deploy", "Building sluice/app:abc", "Revision sluice--0000001 is healthy",
		`"status":"ok"`, "queuedWebhooksProcessed: 42", "Deployed abc as sluice--0000001")
	want := []string{"deployment group what-if", "deployment group create", "acr build", "acr build",
		"deployment group what-if", "deployment group create"}
	if got := s.changes(); !slices.Equal(got, want) {
		t.Errorf("did %q, want %q", got, want)
	}
	if got := s.cloud().Images; !slices.Equal(got, []string{"sluice/sidecar:abc", "sluice/app:abc"}) {
		t.Errorf("built %q", got)
	}
	if len(s.cloud().Revisions) == 0 {
		t.Fatal("no revision was made")
	}
	// Every image that was built is used by the template, and no other.
	if got := s.cloud().Revisions[0].Images; !slices.Equal(got, []string{"sluicereg.azurecr.io/sluice/app:abc", "sluicereg.azurecr.io/sluice/sidecar:abc"}) {
		t.Errorf("the revision runs %q", got)
	}
}

func TestDeployAgainDoesNothingTwice(t *testing.T) {
	s := newStage(t, empty())
	s.run("deploy", "--yes", "--tag", "abc")
	before := len(s.changes())
	out, code := s.run("deploy", "--yes", "--tag", "abc")
	wants(t, out, code, 0, "is in sluicereg already", "Deployed abc as sluice--0000001")
	want := []string{"deployment group what-if", "deployment group create"}
	if got := s.changes()[before:]; !slices.Equal(got, want) {
		t.Errorf("the second run did %q, want %q", got, want)
	}
	if n := len(s.cloud().Revisions); n != 1 {
		t.Errorf("%d revisions, want 1", n)
	}
}

func TestDeployNeedsNoSecretThatTheVaultHas(t *testing.T) {
	s := newStage(t, running("Single"))
	s.env = slices.DeleteFunc(s.env, func(e string) bool { return strings.HasSuffix(e, secret) })
	out, code := s.run("deploy", "--yes", "--tag", "abc")
	wants(t, out, code, 0, "Deployed abc as sluice--0000003")
}

func TestDeployListsAllThatIsMissing(t *testing.T) {
	c := empty()
	c.SignedIn, c.Version = false, "2.40.0"
	s := newStage(t, c)
	s.env = append(s.env, "AZURE_RESOURCE_GROUP=")
	out, code := s.run("deploy", "--yes", "--tag", "abc", "--parameters", "nowhere.bicepparam")
	wants(t, out, code, 2, "no resource group", "no parameter file nowhere.bicepparam", "too old", "az login")

	s = newStage(t, empty())
	s.env = append(s.env, "GITHUB_WEBHOOK_SECRET=", "SLUICE_SECRET=")
	out, code = s.run("deploy", "--yes", "--tag", "abc")
	wants(t, out, code, 2, "GITHUB_WEBHOOK_SECRET is not set", "SLUICE_SECRET is not set")

	s = newStage(t, empty())
	s.env = append(s.env, "SLUICE_DATABASE_PASSWORD=no good/password")
	out, code = s.run("deploy", "--yes", "--tag", "abc", "--parameters", "bicep/dev.bicepparam")
	wants(t, out, code, 2, "may hold letters, digits")

	out, code = s.run("deploy", "--resource-group", "elsewhere", "--yes", "--tag", "abc")
	wants(t, out, code, 2, "no resource group elsewhere")
	if got := s.changes(); len(got) != 0 {
		t.Errorf("did %q all the same", got)
	}
}

func TestDeployDryRunChangesNothing(t *testing.T) {
	for name, c := range map[string]cloud{"first": empty(), "later": running("Single")} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, c)
			out, code := s.run("deploy", "--dry-run", "--tag", "abc")
			wants(t, out, code, 0, "would run: ")
			for _, did := range s.changes() {
				if did != "deployment group what-if" {
					t.Errorf("did %s", did)
				}
			}
		})
	}
}

func TestDeployAsksOnlyATerminal(t *testing.T) {
	s := newStage(t, running("Single"))
	out, code := s.run("deploy", "--tag", "abc")
	wants(t, out, code, 2, "give --yes")
	if n := len(s.cloud().Revisions); n != 2 {
		t.Errorf("%d revisions, want the 2 that were there", n)
	}
}

func TestFailedDeploySaysHowToGoBack(t *testing.T) {
	for name, spoil := range map[string]func(*cloud){
		"unhealthy revision": func(c *cloud) { c.NextHealth = "Unhealthy" },
		"database away":      func(c *cloud) { c.Health = `{"status":"unhealthy","db":"unreachable"}` },
	} {
		t.Run(name, func(t *testing.T) {
			c := running("Single")
			spoil(&c)
			s := newStage(t, c)
			s.env = append(s.env, "SLUICE_WAIT_SECONDS=0.01")
			out, code := s.run("deploy", "--yes", "--tag", "abc")
			wants(t, out, code, 1, "failed its checks", "scripts/rollback --resource-group sluice", " sluice--0000002")
		})
	}
}

func TestStatus(t *testing.T) {
	c := running("Single")
	s := newStage(t, c)
	out, code := s.run("status")
	wants(t, out, code, 0, "sluice--0000002", "state passing, held 0", "running jobs: 0", "cuts nothing off")

	c.AppLog = []string{
		`{"msg":"Job execution started","job_id":1,"hook":"build"}`,
		`{"msg":"Job execution completed","job_id":1,"hook":"build","duration_ms":5}`,
		`{"msg":"Job execution started","job_id":2,"hook":"deploy"}`,
	}
	s.set(c)
	out, code = s.run("status")
	wants(t, out, code, 1, "running jobs: 1", "job 2 deploy", "Not idle")
	if strings.Contains(out, "job 1 ") {
		t.Error("a job that ended counts as running")
	}

	c.AppLog, c.Health = nil, `{"status":"ok","db":"connected","app":"down","state":"holding","held":7}`
	s.set(c)
	out, code = s.run("status")
	wants(t, out, code, 1, "state holding, held 7", "Not idle")
	if got := s.changes(); len(got) != 0 {
		t.Errorf("status did %q", got)
	}

	out, code = newStage(t, empty()).run("status")
	wants(t, out, code, 1, "run scripts/deploy first")
}

func TestRollbackInSingleModeMakesTheOldRevisionNew(t *testing.T) {
	s := newStage(t, running("Single"))
	out, code := s.run("rollback", "--dry-run")
	wants(t, out, code, 0, "would run: az containerapp revision copy", "--from-revision sluice--0000001")
	if got := s.changes(); len(got) != 0 {
		t.Errorf("the dry run did %q", got)
	}

	out, code = s.run("rollback", "--yes")
	wants(t, out, code, 0, "serves sluice--0000002 and goes back to sluice--0000001", "Rolled back: sluice--0000003")
	if got := s.changes(); !slices.Equal(got, []string{"containerapp revision copy"}) {
		t.Errorf("did %q", got)
	}
	if got := s.cloud().Revisions[2].Images[0]; !strings.HasSuffix(got, ":one") {
		t.Errorf("the new revision runs %s", got)
	}

	out, code = s.run("rollback", "--yes", "sluice--0000001")
	wants(t, out, code, 0, "the same as sluice--0000001 already")
	if n := len(s.cloud().Revisions); n != 3 {
		t.Errorf("%d revisions after the same rollback again, want 3", n)
	}
}

func TestRollbackInMultipleModeMovesTheTraffic(t *testing.T) {
	s := newStage(t, running("Multiple"))
	out, code := s.run("rollback", "--yes")
	wants(t, out, code, 0, "Rolled back: sluice--0000001")
	if got := s.changes(); !slices.Equal(got, []string{"containerapp revision activate", "containerapp ingress traffic set"}) {
		t.Errorf("did %q", got)
	}
	if r := s.cloud().Revisions; r[0].Weight != 100 || r[1].Weight != 0 {
		t.Errorf("weights %d and %d", r[0].Weight, r[1].Weight)
	}
}

func TestRollbackToNowhere(t *testing.T) {
	s := newStage(t, running("Single"))
	out, code := s.run("rollback", "--yes", "sluice--9999999")
	wants(t, out, code, 1, "no revision sluice--9999999")
	out, code = s.run("rollback", "one", "two")
	wants(t, out, code, 2, "one revision, please")
	out, code = s.run("rollback", "--force")
	wants(t, out, code, 2, "unknown option --force")
	if got := s.changes(); len(got) != 0 {
		t.Errorf("did %q", got)
	}
}

func TestScriptsPassShellcheck(t *testing.T) {
	if _, err := exec.LookPath("shellcheck"); err != nil {
		t.Skip("no shellcheck here: the scripts are not linted")
	}
	for _, script := range []string{"deploy", "status", "rollback", "azure.sh"} {
		out, err := exec.Command("shellcheck", "--external-sources", root+"/scripts/"+script).CombinedOutput()
		if err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	}
}
