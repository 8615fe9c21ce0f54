package azure

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// A tag of an action can be moved to other code, a commit cannot
// (docs.github.com, security hardening for GitHub Actions).
func TestActionsArePinnedByCommit(t *testing.T) {
	files, err := filepath.Glob(root + "/.github/workflows/*.yml")
	if err != nil || len(files) < 2 {
		t.Fatalf("%d workflows, %v", len(files), err)
	}
	used := regexp.MustCompile(`(?m)uses: (\S+)(.*)$`)
	pinned := regexp.MustCompile(`^[\w.-]+/[\w./-]+@[0-9a-f]{40}$`)
	for _, file := range files {
		for _, m := range used.FindAllStringSubmatch(string(readFile(t, file)), -1) {
			if !pinned.MatchString(m[1]) || !strings.HasPrefix(m[2], " # v") {
				t.Errorf("%s: %s%s is not pinned by commit, with its version beside it", filepath.Base(file), m[1], m[2])
			}
		}
	}
}

// With one name for three parameter files, choosing dev downgraded production's
// server, and production made by hand was another stack.
func TestWorkflowHasANameAndAnEnvironmentPerFile(t *testing.T) {
	text := string(readFile(t, root+"/.github/workflows/deploy.yml"))
	for _, want := range []string{
		"environment: ${{ inputs.parameters }}",
		"SLUICE_PARAMETERS: bicep/${{ inputs.parameters }}.bicepparam",
		"options: [dev, main, production]",
		"group: deploy-${{ inputs.parameters }}",
		"SLUICE_NAME: ${{ vars.SLUICE_NAME }}\n", // no default of its own
	} {
		if !strings.Contains(text, want) {
			t.Errorf("deploy.yml has no %q", want)
		}
	}
}

func TestWorkflowPromotesADigest(t *testing.T) {
	text := string(readFile(t, root+"/.github/workflows/deploy.yml"))
	for _, want := range []string{"app_image:", "sidecar_image:", "--app-image", "--sidecar-image",
		"actions/attest-sbom@", "actions/attest-build-provenance@", "anchore/scan-action@", "persist-credentials: false"} {
		if !strings.Contains(text, want) {
			t.Errorf("deploy.yml has no %q", want)
		}
	}
	// What is built is attested; what is given is scanned as well, private or not.
	steps := strings.Split(text, "\n      - ")
	at := func(what string) int {
		return slices.IndexFunc(steps, func(step string) bool { return strings.Contains(step, what) })
	}
	order := []int{at("docker login ghcr.io"), at("docker build --file"), at("anchore/scan-action@"), at("anchore/sbom-action@"),
		at("actions/attest-sbom@"), at("actions/attest-build-provenance@"), at(`>"$IMAGE.txt"`), at("scripts/deploy --yes")}
	if order[0] < 0 || !slices.IsSorted(order) {
		t.Errorf("the steps are in the order %v", order)
	}
	for _, i := range order {
		if attests := i == order[3] || i == order[4] || i == order[5]; strings.Contains(steps[i], "\n        if: ") != attests {
			t.Errorf("done at times only, or always: %s", steps[i])
		}
	}
	if strings.Contains(steps[order[1]], "docker login") {
		t.Error("the registry is signed in to only where an image is built")
	}
}

// An empty variable, as a workflow sets one, is none.
func TestEmptyVariablesAreThoseOfTheFile(t *testing.T) {
	s := newStage(t, empty())
	s.env = append(s.env, "SLUICE_NAME=", "SLUICE_STARTUP_PROBE=")
	out, code := s.run("deploy", "--yes", "--tag", "abc")
	wants(t, out, code, 0, "installation: sluice", "Deployed abc")
}

// azd's own deploy of a container app puts one image into the first container
// (azure-dev, cli/azd/pkg/containerapps), so the script does all of it, in the
// subscription of azd's environment, and azd has nothing to provision.
func TestAzdRunsTheScriptAndNothingTwice(t *testing.T) {
	text := string(readFile(t, root+"/azure.yaml"))
	if !strings.Contains(text, "run: scripts/deploy --yes") || strings.Contains(text, "\ninfra:") || strings.Contains(text, "env set GITHUB") {
		t.Error("azure.yaml provisions besides, or keeps secrets in .env")
	}
	s := newStage(t, empty())
	s.env = append(s.env, "AZURE_SUBSCRIPTION_ID=another")
	_, _ = s.run("deploy", "--yes", "--tag", "abc")
	for _, k := range s.calls() {
		if k.Command == "account show" && k.option("--subscription") != "another" {
			t.Error("az's default subscription is taken in place of azd's")
		}
	}
}

// The workflows deploy with the compiler that wrote main.json: another one knows
// other rules.
func TestWorkflowsPinTheCompiler(t *testing.T) {
	generator := value[object](t, readJSON(t, compiled), "metadata", "_generator")
	version := strings.Join(strings.Split(generator["version"].(string), ".")[:3], ".")
	for _, file := range []string{"deploy.yml", "azure.yml"} {
		if !strings.Contains(string(readFile(t, root+"/.github/workflows/"+file)), "az bicep install --version v"+version+"\n") {
			t.Errorf("%s does not pin the compiler to %s", file, version)
		}
	}
}

// A token by OpenID Connect lasts an hour (learn.microsoft.com, azure/developer/
// github/connect-from-azure-openid-connect): the group of a rehearsal that took
// longer, or failed, is deleted by a sign-in of its own.
func TestRehearsalIsDeletedByASignInOfItsOwn(t *testing.T) {
	text := string(readFile(t, root+"/.github/workflows/azure.yml"))
	steps := strings.Split(text, "      - name: ")
	last := steps[len(steps)-2:]
	for i, want := range []string{"azure/login@", "az group delete --name \"$GROUP\""} {
		if !strings.Contains(last[i], want) || !strings.Contains(last[i], "if: ${{ always() && steps.asked.outputs.yes }}") {
			t.Errorf("step %q is not %s, or not always done", last[i], want)
		}
	}
	for i, step := range steps {
		if strings.Contains(step, "run: scripts/azure-rehearsal") && !strings.Contains(step, " first\n") && !strings.Contains(steps[i-1], "azure/login@") {
			t.Errorf("no sign-in before %q", step)
		}
	}
}

// A tag may move between the scan and the deploy.
func TestWorkflowRefusesAnImageWithoutADigest(t *testing.T) {
	text := string(readFile(t, root+"/.github/workflows/deploy.yml"))
	_, script, _ := strings.Cut(text, "REVISION: ${{ github.sha }}\n        run: |\n")
	script, _, _ = strings.Cut(script, "      - name: ")
	for given, want := range map[string]int{"ghcr.io/example/app:1": 1, "ghcr.io/example/app@sha256:0": 0} {
		output := filepath.Join(t.TempDir(), "output")
		cmd := exec.CommandContext(t.Context(), "bash", "-ec", script)
		cmd.Env = append(os.Environ(), "GIVEN="+given, "IMAGE=app", "REPOSITORY=ghcr.io/Example/app", "GITHUB_OUTPUT="+output)
		out, err := cmd.CombinedOutput()
		if cmd.ProcessState == nil {
			t.Skip(err)
		}
		if got := cmd.ProcessState.ExitCode(); got != want {
			t.Errorf("%s: exit status %d, want %d\n%s", given, got, want, out)
		}
		if want == 1 && !strings.Contains(string(out), "has no digest") {
			t.Errorf("it says %s", out)
		}
	}
}
