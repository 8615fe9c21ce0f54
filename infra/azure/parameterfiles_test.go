package azure

import (
	"slices"
	"testing"
)

// From nothing, with each of the three files: the first deploy, a broken revision,
// the rollback, another deploy, and status at each step.
func TestDeployOfEachParameterFile(t *testing.T) {
	for file, installation := range map[string]string{"main": "sluice", "dev": "sluice-dev", "production": "sluice-prod"} {
		t.Run(file, func(t *testing.T) {
			s := newStage(t, empty())
			s.env = append(s.env, "SLUICE_DATABASE_PASSWORD="+secret, "SLACK_SIGNING_SECRET="+secret)
			out, code := s.run("deploy", "--yes", "--tag", "abc", "--parameters", "bicep/"+file+".bicepparam")
			wants(t, out, code, 0, "installation: "+installation, "Deployed abc as sluice--0000001")
			for _, name := range []string{"sluice-secret", "github-webhook-secret"} {
				if !slices.Contains(s.cloud().Secrets, name) {
					t.Errorf("no secret %s", name)
				}
			}
			s.wayBack(file, "sluice-"+installation)
		})
	}
}

// wayBack plays, after a first deploy, a broken revision, the rollback and another
// deploy, with status at each step.
func (s *stage) wayBack(file, deployment string) {
	s.t.Helper()
	named := []string{"--parameters", "bicep/" + file + ".bicepparam"}
	step := func(want int, script string, args []string, says ...string) {
		s.t.Helper()
		out, code := s.run(script, append(args, named...)...)
		wants(s.t, out, code, want, says...)
	}
	idle := []string{"Deployment " + deployment + ": Succeeded", "cuts nothing off"}
	step(0, "status", nil, idle...)
	c := s.cloud()
	c.Faults.NextHealth = "Unhealthy"
	s.set(c)
	step(1, "deploy", []string{"--yes", "--tag", "bad"}, "Before this, sluice--0000001 served. Back to it: scripts/rollback", file+".bicepparam sluice--0000001")
	step(1, "status", nil, "Deployment "+deployment+": Failed", "sluice--0000002 is not ready; sluice--0000001 serves")
	c = s.cloud()
	c.Faults.NextHealth = ""
	s.set(c)
	step(0, "rollback", []string{"--yes"}, "goes back to sluice--0000001", "Rolled back: sluice--0000003")
	step(0, "status", nil, "Deployment "+deployment+": Failed", "cuts nothing off")
	step(0, "deploy", []string{"--yes", "--tag", "good"}, "Deployed good as sluice--0000004")
	step(0, "status", nil, idle...)
}
