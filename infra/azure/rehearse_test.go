package azure

import (
	"os"
	"path/filepath"
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
