package azure

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestStatus(t *testing.T) {
	c := running(t, "Single")
	s := newStage(t, c)
	out, code := s.run("status")
	wants(t, out, code, 0, "sluice--0000002", "state passing, held 0", "running jobs: 0", "cuts nothing off",
		"Names", "vault", vaultName(t, "main"))

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
	wants(t, out, code, 1, "run scripts/deploy")
}

// `az containerapp logs show` shows 300 lines at most (azure-cli,
// containerapp/_params.py): an older job is found in the workspace. The stand-in
// has no `az monitor log-analytics query`, as an az without its extension.
func TestStatusFindsJobsOlderThanTheLogShows(t *testing.T) {
	c := running(t, "Single")
	c.AppLog = slices.Concat([]string{`{"msg":"Job execution started","job_id":7,"hook":"build"}`}, slices.Repeat([]string{`{"msg":"Chatter"}`}, 400))
	c.History = []string{`{"msg":"Job execution started","job_id":7,"hook":"build"}`}
	out, code := newStage(t, c).run("status")
	wants(t, out, code, 1, "running jobs: 1", "job 7 build", "Not idle")

	// No workspace to ask: it does not call that idle.
	c.Resources = slices.DeleteFunc(c.Resources, func(r resource) bool { return strings.HasSuffix(r.Type, "/workspaces") })
	out, code = newStage(t, c).run("status")
	wants(t, out, code, 1, "longer than the 300 lines", "older jobs may run", "Not idle")
}

// An installation from before there were tags is found by its name.
func TestStatusWithoutTags(t *testing.T) {
	c := running(t, "Single")
	for i := range c.Resources {
		c.Resources[i].Tags = nil
	}
	out, code := newStage(t, c).run("status")
	wants(t, out, code, 0, "sluice--0000002", "cuts nothing off")
}

func TestRollbackInSingleModeMakesTheOldRevisionNew(t *testing.T) {
	s := newStage(t, running(t, "Single"))
	out, code := s.run("rollback", "--dry-run")
	wants(t, out, code, 0, "would run: az rest --method patch")
	if got := s.changes(); len(got) != 0 {
		t.Errorf("the dry run did %q", got)
	}

	out, code = s.run("rollback", "--yes")
	wants(t, out, code, 0, "serves sluice--0000002 and goes back to sluice--0000001", "Rolled back: sluice--0000003")
	if got := s.changes(); !slices.Equal(got, []string{"rest"}) {
		t.Errorf("did %q", got)
	}
	if got := s.cloud().Revisions[2].image("app"); !strings.HasSuffix(got, ":one") {
		t.Errorf("the new revision runs %s", got)
	}

	out, code = s.run("rollback", "--yes", "sluice--0000001")
	wants(t, out, code, 0, "the same as sluice--0000001 already")
	if n := len(s.cloud().Revisions); n != 3 {
		t.Errorf("%d revisions after the same rollback again, want 3", n)
	}
}

// The whole template of the old revision comes back, and only what the app's
// secrets still name: the platform has been seen to show a revision's secretRefs
// as capp-NAME (microsoft/azure-container-apps issue 1705).
func TestRollbackBringsBackTheTemplate(t *testing.T) {
	for name, spoil := range map[string]func(*cloud){
		"as it is":             func(*cloud) {},
		"with mangled refs":    func(c *cloud) { c.Faults.MangledRefs = true },
		"while reads are late": func(c *cloud) { c.Faults.Lag = 3 },
	} {
		t.Run(name, func(t *testing.T) {
			c := running(t, "Single")
			old := c.Revisions[0].Template["containers"].([]any)[0].(object)
			old["env"] = append(old["env"].([]any), object{"name": "ONLY_THEN", "value": "a \"quoted\" value"})
			spoil(&c)
			s := newStage(t, c)
			out, code := s.run("rollback", "--yes")
			wants(t, out, code, 0, "Rolled back: sluice--0000003")
			got, want := s.cloud().Revisions[2].Template, s.cloud().Revisions[0].Template
			if !sameJSON(t, got, want) {
				t.Errorf("the template is\n%v\nwant\n%v", got, want)
			}
		})
	}
}

// `az containerapp revision copy` replaces the app's name and a dash by nothing
// in every secretRef (azure-cli, containerapp/_utils.py,
// _update_revision_env_secretrefs). By hand it works too, since no secret of the
// app's has a dash in its name.
func TestRevisionCopyByHandFindsTheSecrets(t *testing.T) {
	s := newStage(t, running(t, "Single"))
	t.Setenv("STANDIN", s.dir)
	c := s.cloud()
	k := call{Command: "containerapp revision copy", Options: map[string][]string{"--from-revision": {"sluice--0000001"}}}
	if _, err := c.answer(k); err != nil {
		t.Error(err)
	}
	// The stand-in copies as the real one does.
	c = s.cloud()
	for _, r := range c.Revisions {
		for _, container := range r.Template["containers"].([]any) {
			for _, e := range container.(object)["env"].([]any) {
				if e.(object)["secretRef"] == "sluicesecret" {
					e.(object)["secretRef"] = "sluice-secret"
				}
			}
		}
	}
	c.Config["secrets"] = append(c.Config["secrets"].([]any), object{"name": "sluice-secret"})
	if _, err := c.answer(k); err == nil || !strings.Contains(err.Error(), "SecretRef 'secret' defined for container") {
		t.Errorf("the copy gives %v", err)
	}
}

func TestRollbackInMultipleModeMovesTheTraffic(t *testing.T) {
	s := newStage(t, running(t, "Multiple"))
	out, code := s.run("rollback", "--yes")
	wants(t, out, code, 0, "Rolled back: sluice--0000001")
	want := []string{"containerapp revision activate", "containerapp ingress traffic set", "containerapp revision deactivate"}
	if got := s.changes(); !slices.Equal(got, want) {
		t.Errorf("did %q", got)
	}
	r := s.cloud().Revisions
	if r[0].Weight != 100 || r[1].Weight != 0 {
		t.Errorf("weights %d and %d", r[0].Weight, r[1].Weight)
	}
	// It would go on taking leases and jobs.
	if r[1].Active {
		t.Error("the bad revision is still active")
	}
}

func TestRollbackFromABadRevisionInMultipleMode(t *testing.T) {
	c := running(t, "Multiple")
	c.Faults.NextHealth = "Unhealthy"
	template := clone(c.Revisions[1].Template)
	template["terminationGracePeriodSeconds"] = 331
	if err := c.revise(template); err == nil {
		t.Fatal("the revision is healthy")
	}
	s := newStage(t, c)
	out, code := s.run("rollback", "--yes")
	wants(t, out, code, 0, "sluice--0000003 is the latest and does not serve", "Rolled back: sluice--0000002")
	if r := s.cloud().Revisions; r[2].Active || r[1].Weight != 100 {
		t.Errorf("active %v, weight of the second %d", r[2].Active, r[1].Weight)
	}
}

func TestRollbackToNowhere(t *testing.T) {
	s := newStage(t, running(t, "Single"))
	out, code := s.run("rollback", "--yes", "sluice--9999999")
	wants(t, out, code, 1, "no revision sluice--9999999")
	out, code = s.run("rollback", "one", "two")
	wants(t, out, code, 2, "one revision, please")
	out, code = s.run("rollback", "--force")
	wants(t, out, code, 2, "unknown option --force")
	if got := s.changes(); len(got) != 0 {
		t.Errorf("did %q", got)
	}
	out, code = newStage(t, empty()).run("rollback", "--yes")
	wants(t, out, code, 1, "no container app sluice", "run scripts/deploy")
}

// A revision that has never been ready is nothing to go back to.
func TestRollbackOfAFirstDeploy(t *testing.T) {
	c := empty()
	c.Faults.NextHealth = "Unhealthy"
	s := newStage(t, c)
	s.run("deploy", "--yes", "--tag", "abc")
	out, code := s.run("rollback", "--yes")
	wants(t, out, code, 1, "no revision of sluice has ever been ready", "scripts/deploy")
}

// parameters writes a parameter file of the test's own, with main's snapshot.
func (s *stage) parameters(text string) string {
	s.t.Helper()
	path := filepath.Join(s.dir, "own.bicepparam")
	snapshot := readFile(s.t, snapshotOf(root+"/bicep/main.bicepparam"))
	for file, text := range map[string][]byte{path: []byte(text), snapshotOf(path): snapshot} {
		if err := os.WriteFile(file, text, 0o600); err != nil {
			s.t.Fatal(err)
		}
	}
	return path
}

func sameJSON(t *testing.T, a, b object) bool {
	t.Helper()
	return string(mustJSON(t, a)) == string(mustJSON(t, b))
}
