package azure

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A stand-in for `go build`: the sender that comes of it says what it was told.
const fakeBuild = `#!/bin/sh
cat >"$3" <<'END'
#!/bin/sh
trap 'echo "10 webhooks, 10 acknowledged, $SAYS never acknowledged"; exit $SAYS' TERM
while :; do sleep 0.05; done
END
chmod +x "$3"
`

func rehearsalStage(t *testing.T, c cloud) *stage {
	t.Helper()
	s := newStage(t, c)
	if err := os.WriteFile(filepath.Join(s.dir, "bin", "go"), []byte(fakeBuild), 0o755); err != nil {
		t.Fatal(err)
	}
	s.env = append(s.env, "SAYS=0", "SLUICE_SETTLE_SECONDS=0.1")
	return s
}

// A restart that fails, or replaces nothing, is no rehearsal of one.
func TestRehearsalProvesItsRestart(t *testing.T) {
	for says, fault := range map[string]faults{
		"cannot be restarted":               {RestartFails: true},
		"the restart left replicas as they": {RestartIdle: true},
	} {
		c := empty()
		c.Faults = fault
		out, code := rehearsalStage(t, c).run("azure-rehearsal")
		wants(t, out, code, 1, says, "restart: 10 webhooks", "Deleting sluice-rehearsal-")
	}
}

// A sign-in by OpenID Connect lasts an hour: the workflow plays phase by phase and
// signs in between.
func TestRehearsalPhaseByPhase(t *testing.T) {
	s := rehearsalStage(t, empty())
	for _, phases := range [][]string{{"first"}, {"deploy"}, {"restart"}, {"rollback", "idle"}} {
		out, code := s.run("azure-rehearsal", append([]string{"--group", "sluice-rehearsal-1234567890123-1"}, phases...)...)
		wants(t, out, code, 0)
		if strings.Contains(out, "not listed yet") {
			t.Errorf("%s: what the deployment made is not found by its tag:\n%s", phases, out)
		}
	}
	if groups := s.cloud().Groups; len(groups) != 1 {
		t.Errorf("groups %v, want the one that the workflow deletes", groups)
	}
	out, code := s.run("azure-rehearsal", "deploy")
	wants(t, out, code, 2, "phases need --group")
}

func TestRehearsalOnAzureDeletesItsGroup(t *testing.T) {
	for says, want := range map[string]int{"0": 0, "1": 1} {
		s := newStage(t, empty())
		if err := os.WriteFile(filepath.Join(s.dir, "bin", "go"), []byte(fakeBuild), 0o755); err != nil {
			t.Fatal(err)
		}
		s.env = append(s.env, "SAYS="+says, "SLUICE_SETTLE_SECONDS=0.1")
		out, code := s.run("azure-rehearsal")
		wants(t, out, code, want, "Deployed one-", "deploy: 10 webhooks, 10 acknowledged, "+says, "Deleting sluice-rehearsal-")
		if want == 0 {
			wants(t, out, code, 0, "Rolled back", "rollback: 10 webhooks", "cuts nothing off")
		}
		if groups := s.cloud().Groups; len(groups) != 0 {
			t.Errorf("left behind: %v", groups)
		}
	}
}
