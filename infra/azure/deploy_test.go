package azure

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

// image returns what a container of a revision runs.
func (r revision) image(name string) string {
	for _, c := range r.Template["containers"].([]any) {
		if c.(object)["name"] == name {
			return c.(object)["image"].(string)
		}
	}
	return ""
}

func TestFirstDeployMakesEverything(t *testing.T) {
	s := newStage(t, empty())
	out, code := s.run("deploy", "--yes", "--tag", "abc")
	wants(t, out, code, 0, "First deploy", "Building sluice/app:abc", "Made BUFFER_KEY", "cannot be switched later",
		"Giving the containers their role", "Revision sluice--0000001 is healthy",
		`"status":"ok"`, "queuedWebhooksProcessed: 42", "Deployed abc as sluice--0000001",
		"Subscription: Pay as you go (00000000-0000-0000-0000-000000000000), resource group: sluice, installation: sluice")
	// Foundation, images, the job that gives the role, the app.
	want := []string{"deployment group create", "acr build", "acr build", "deployment group create",
		"containerapp job start", "deployment group create"}
	if got := s.changes(); !slices.Equal(got, want) {
		t.Errorf("did %q, want %q", got, want)
	}
	c := s.cloud()
	if len(c.Revisions) != 1 {
		t.Fatalf("%d revisions were made", len(c.Revisions))
	}
	for _, name := range []string{"app", "sidecar"} {
		// By digest: a tag may move, and a rollback has to find what ran.
		if got := c.Revisions[0].image(name); !regexp.MustCompile(`\.azurecr\.io/sluice/` + name + `@sha256:[0-9a-f]{64}$`).MatchString(got) {
			t.Errorf("the revision runs %q", got)
		}
	}
	for _, k := range s.calls() {
		if k.Command != "version" && k.Command != "account show" && !strings.HasPrefix(k.Command, "docker") &&
			k.option("--subscription") != subscription {
			t.Errorf("az %s does not say of which subscription", k.Command)
		}
	}
}

func TestDeployAgainDoesNothingTwice(t *testing.T) {
	s := newStage(t, empty())
	s.run("deploy", "--yes", "--tag", "abc")
	before := len(s.changes())
	out, code := s.run("deploy", "--yes", "--tag", "abc")
	wants(t, out, code, 0, "is in sluice", "Nothing has changed: sluice--0000001 serves as before")
	want := []string{"deployment group create", "containerapp job start", "deployment group create"}
	if got := s.changes()[before:]; !slices.Equal(got, want) {
		t.Errorf("the second run did %q, want %q", got, want)
	}
	if strings.Contains(out, "Made ") {
		t.Error("a key that the vault has was made again")
	}
	if n := len(s.cloud().Revisions); n != 1 {
		t.Errorf("%d revisions, want 1", n)
	}
}

func TestDeployNeedsNoSecretThatTheVaultHas(t *testing.T) {
	s := newStage(t, running(t, "Single"))
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
	s.env = append(s.env, "GITHUB_WEBHOOK_SECRET=")
	out, code = s.run("deploy", "--yes", "--tag", "abc", "--parameters", "bicep/production.bicepparam")
	wants(t, out, code, 2, "GITHUB_WEBHOOK_SECRET is not set", "SLACK_SIGNING_SECRET is not set")

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

// Every variable that holds a secret is known to be one: it is asked for before
// anything is made.
func TestDeployKnowsEverySecretVariable(t *testing.T) {
	text := string(readFile(t, root+"/bicep/modules/types.bicep"))
	_, list, _ := strings.Cut(text, "type SecretVariable =")
	list, _, _ = strings.Cut(list, "@export()")
	var lines []string
	names := regexp.MustCompile(`'([A-Z_]+)'`).FindAllStringSubmatch(list, -1)
	for _, m := range names {
		lines = append(lines, "  "+m[1]+": readEnvironmentVariable('"+m[1]+"', '')")
	}
	if len(names) < 20 {
		t.Fatalf("only %d secret variables", len(names))
	}
	s := newStage(t, empty())
	file := s.parameters("param name = 'sluice'\nparam secretValues = {\n" + strings.Join(lines, "\n") + "\n}\n")
	s.env = slices.DeleteFunc(s.env, func(e string) bool { return strings.HasSuffix(e, secret) })
	out, code := s.run("deploy", "--yes", "--tag", "abc", "--parameters", file)
	if code != 2 {
		t.Errorf("exit status %d, want 2", code)
	}
	for _, m := range names {
		if !strings.Contains(out, m[1]+" is not set") && !strings.Contains(out, "Made "+m[1]) {
			t.Errorf("%s is not missed", m[1])
		}
	}
}

func TestDeployDryRunChangesNothing(t *testing.T) {
	for name, c := range map[string]cloud{"first": empty(), "later": running(t, "Single")} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, c)
			out, code := s.run("deploy", "--dry-run", "--tag", "abc")
			wants(t, out, code, 0, "would run: ")
			if did := s.changes(); len(did) != 0 {
				t.Errorf("did %q", did)
			}
		})
	}
}

func TestDeployAsksOnlyATerminal(t *testing.T) {
	s := newStage(t, running(t, "Single"))
	out, code := s.run("deploy", "--tag", "abc")
	wants(t, out, code, 2, "give --yes")
	if n := len(s.cloud().Revisions); n != 2 {
		t.Errorf("%d revisions, want the 2 that were there", n)
	}
}

// Free subscriptions may not build in the registry
// (Azure-Samples/azure-search-openai-demo issue 2220).
func TestDeployWhereTheRegistryDoesNotBuild(t *testing.T) {
	c := empty()
	c.Faults.TasksRefused = true
	s := newStage(t, c)
	out, code := s.run("deploy", "--yes", "--tag", "abc")
	wants(t, out, code, 1, "TasksOperationsNotAllowed", "scripts/deploy --resource-group sluice --subscription "+subscription+" --parameters bicep/main.bicepparam --local-build", "it goes on where it stopped")

	out, code = s.run("deploy", "--yes", "--tag", "abc", "--local-build")
	wants(t, out, code, 0, "Building sluice/app:abc here, with docker", "Deployed abc as sluice--0000001")
	if got := s.changes(); strings.Count(strings.Join(got, " "), "docker push") != 2 {
		t.Errorf("did %q", got)
	}
}

func TestDeployTakesImagesThatExist(t *testing.T) {
	s := newStage(t, empty())
	out, code := s.run("deploy", "--yes", "--app-image", "ghcr.io/example/app:1", "--sidecar-image", "ghcr.io/example/sidecar:1")
	wants(t, out, code, 0, "Deployed ghcr.io/example/app:1 as sluice--0000001")
	if got := s.changes(); slices.Contains(got, "acr build") || slices.Contains(got, "docker build") {
		t.Errorf("did %q", got)
	}
	if got := s.cloud().Revisions[0].image("app"); got != "ghcr.io/example/app:1" {
		t.Errorf("the revision runs %s", got)
	}
}

// What Azure does on a bad day: the exit status, the last lines that a person
// sees, and that the same command goes on once the cause is mended.
func TestDeployOnABadDay(t *testing.T) {
	for name, day := range map[string]struct {
		spoil func(*cloud)
		env   string
		code  int
		says  []string
		mend  func(*cloud)
		again string // variables for the run that goes on
	}{
		// microsoft/azure-container-apps issue 783 and 747: a revision that does
		// not start fails the deployment.
		"a revision that is never ready": {
			spoil: func(c *cloud) {
				c.Faults.NextHealth, c.SystemLog = "Unhealthy", []string{"Startup probe failed: connection refused"}
			},
			code: 1,
			says: []string{"Operation expired", "Startup probe failed: connection refused", "the deployment sluice-sluice failed", "Nothing served before this"},
			mend: func(c *cloud) { c.Faults.NextHealth = "" },
		},
		"a quota": {
			spoil: func(c *cloud) { c.Faults.Quota = true },
			code:  1,
			says:  []string{"MaxNumberOfRegionalEnvironmentsInSubExceeded", "docs/azure.md#quotas", "Nothing served before this"},
			mend:  func(c *cloud) { c.Faults.Quota = false },
		},
		"providers, for an owner of the group": {
			spoil: func(c *cloud) { c.Unregistered = []string{"Microsoft.App", "Microsoft.Batch", "microsoft.insights"} },
			code:  2,
			says:  []string{"an owner of the subscription runs az provider register --namespace Microsoft.App --wait", "--namespace microsoft.insights --wait"},
			mend:  func(c *cloud) { c.Unregistered = nil },
		},
		"a running deployment": {
			spoil: func(c *cloud) { c.Deployments = map[string]deployment{"sluice-sluice": {State: "Running"}} },
			code:  1,
			says:  []string{"DeploymentActive", "az deployment group wait", "az deployment group cancel"},
			mend:  func(c *cloud) { c.Deployments = nil },
		},
		"a deleted vault": {
			spoil: func(c *cloud) { c.Deleted = []string{vaultName(t, "main")} },
			code:  2,
			says:  []string{"az keyvault recover --name " + vaultName(t, "main")},
			mend:  func(c *cloud) { c.Deleted = nil },
		},
		"the documented maximum of a probe": {
			spoil: func(c *cloud) { c.Faults.ProbeLimit = true },
			code:  1,
			says:  []string{"ContainerAppProbeFailureThresholdOutOfRange", "SLUICE_STARTUP_PROBE='20s x 10' scripts/deploy"},
			mend:  func(c *cloud) { c.Faults.ProbeLimit = false },
		},
		"the database job": {
			spoil: func(c *cloud) { c.Faults.JobFails = true },
			code:  1,
			says:  []string{"did not give the role: Failed", "Nothing served before this", "so it is not deployed"},
			mend:  func(c *cloud) { c.Faults.JobFails = false },
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := empty()
			day.spoil(&c)
			s := newStage(t, c)
			out, code := s.run("deploy", "--yes", "--tag", "abc")
			wants(t, out, code, day.code, day.says...)
			c = s.cloud()
			day.mend(&c)
			s.set(c)
			out, code = s.run("deploy", "--yes", "--tag", "def")
			wants(t, out, code, 0, "Deployed def as sluice--")
		})
	}
}

// A role assignment, a list and the app's own state arrive late; a revision is
// Degraded for a moment: none of it is a failure.
func TestDeployWaitsForWhatArrivesLate(t *testing.T) {
	c := empty()
	c.Faults = faults{Lag: 2, RoleDelay: 2, NextHealth: "Flapping"}
	s := newStage(t, c)
	out, code := s.run("deploy", "--yes", "--tag", "abc")
	wants(t, out, code, 0, "not known everywhere yet", "Deployed abc as sluice--0000001")
	if n := strings.Count(out, "Made BUFFER_KEY"); n != 1 {
		t.Errorf("BUFFER_KEY was made %d times", n)
	}
}

// The vault's secrets are the only copy of BUFFER_KEY: it is never made anew on
// a guess.
func TestDeployMakesNoKeyWhereTheVaultHasOne(t *testing.T) {
	c := running(t, "Single")
	c.Faults.SecretsHidden, c.Faults.ControlHidden = true, true
	s := newStage(t, c)
	s.env = append(s.env, "SLUICE_SECRET=")
	out, code := s.run("deploy", "--yes", "--tag", "abc")
	wants(t, out, code, 0, "cannot be listed", "Deployed abc as sluice--0000003")
	if strings.Contains(out, "Made ") {
		t.Error("a key was made though the vault may have one")
	}
}

// The whole way: a broken revision, back, and on, with status at each step.
func TestABrokenRevisionAndTheWayBack(t *testing.T) {
	c := running(t, "Single")
	c.Faults.NextHealth = "Unhealthy"
	s := newStage(t, c)
	out, code := s.run("deploy", "--yes", "--tag", "bad")
	wants(t, out, code, 1, "What failed:", "Microsoft.App/containerApps sluice: ContainerAppOperationError",
		"Before this, sluice--0000002 served. Back to it: scripts/rollback --resource-group sluice --subscription "+subscription+" --parameters bicep/main.bicepparam sluice--0000002")

	// A failed deployment has no outputs; what is there is found all the same.
	out, code = s.run("status")
	wants(t, out, code, 1, "Deployment sluice-sluice: Failed", "sluice--0000003 is not ready; sluice--0000002 serves", "scripts/rollback")

	c = s.cloud()
	c.Faults.NextHealth = ""
	s.set(c)
	out, code = s.run("rollback", "--yes")
	wants(t, out, code, 0, "sluice--0000003 is the latest and does not serve", "goes back to sluice--0000002", "Rolled back: sluice--0000004")
	if got, want := s.cloud().Revisions[3].image("app"), s.cloud().Revisions[1].image("app"); got != want {
		t.Errorf("the new revision runs %s, want %s", got, want)
	}

	// Another deploy asks for no secret again.
	s.env = slices.DeleteFunc(s.env, func(e string) bool { return strings.HasSuffix(e, secret) })
	out, code = s.run("deploy", "--yes", "--tag", "good")
	wants(t, out, code, 0, "Deployed good as sluice--0000005")
	out, code = s.run("status")
	wants(t, out, code, 0, "Deployment sluice-sluice: Succeeded", "cuts nothing off")
}

func TestFailedChecksSayHowToGoBack(t *testing.T) {
	c := running(t, "Single")
	c.Health = `{"status":"unhealthy","db":"unreachable"}`
	s := newStage(t, c)
	s.env = append(s.env, "SLUICE_WAIT_SECONDS=1")
	out, code := s.run("deploy", "--yes", "--tag", "abc")
	wants(t, out, code, 1, "failed its checks", "scripts/rollback --resource-group sluice", " sluice--0000002")
}

// A busy replica pushes the line out of the 300 that can be read.
func TestReplayLineThatIsNoLongerInTheLog(t *testing.T) {
	c := running(t, "Single")
	c.SidecarLog = append(c.SidecarLog, slices.Repeat([]string{`{"msg":"Webhook queued"}`}, 400)...)
	s := newStage(t, c)
	s.env = append(s.env, "SLUICE_WAIT_SECONDS=1")
	out, code := s.run("deploy", "--yes", "--tag", "abc")
	wants(t, out, code, 0, "no longer show the end of the replay; it is passing, held: 0", "Deployed abc")
}

// what-if also lists what the template does not name, as Ignore: another
// installation's vault in the group is not this one's
// (learn.microsoft.com, azure-resource-manager/bicep/deploy-what-if).
func TestDeployBesideAnotherInstallation(t *testing.T) {
	c := running(t, "Single")
	for _, kind := range []string{"Microsoft.KeyVault/vaults", "Microsoft.ContainerRegistry/registries"} {
		c.Resources = slices.Insert(c.Resources, 0, resource{Type: kind, Name: "another",
			ID: "/subscriptions/" + subscription + "/resourceGroups/sluice/providers/" + kind + "/another"})
	}
	s := newStage(t, c)
	out, code := s.run("deploy", "--yes", "--tag", "abc")
	wants(t, out, code, 0, "Deployed abc as sluice--0000003")
	for _, k := range s.calls() {
		if k.option("--vault-name") == "another" || k.option("--registry") == "another" || k.option("--name") == "another" {
			t.Errorf("az %v is another installation's", k.Args)
		}
	}
}

// A vault whose state cannot be asked is not one without keys.
func TestDeployMakesNoKeyWhenTheVaultDoesNotAnswer(t *testing.T) {
	c := running(t, "Single")
	c.Faults.VaultHidden = true
	out, code := newStage(t, c).run("deploy", "--yes", "--tag", "abc")
	wants(t, out, code, 0, "cannot be listed", "Deployed abc as sluice--0000003")
	if strings.Contains(out, "Made ") {
		t.Error("a key was made though the vault has one")
	}
}

// An installation from before there were tags has a public server too.
func TestDeployFindsAServerWithoutTags(t *testing.T) {
	c := running(t, "Single")
	c.Faults.PublicServer = true
	for i := range c.Resources {
		c.Resources[i].Tags = nil
	}
	s := newStage(t, c)
	out, code := s.run("deploy", "--yes", "--tag", "abc")
	wants(t, out, code, 2, "has public access, and main.bicepparam asks for a network, which cannot be switched")
	if got := s.changes(); len(got) != 0 {
		t.Errorf("did %q", got)
	}
}

// Neither a server nor an environment can move into a network
// (learn.microsoft.com, postgresql/flexible-server/concepts-networking-private).
func TestDeployIntoANetworkThatCannotBeJoined(t *testing.T) {
	c := running(t, "Single")
	c.Faults.PublicServer = true
	s := newStage(t, c)
	out, code := s.run("deploy", "--yes", "--tag", "abc")
	wants(t, out, code, 2, "has public access, and main.bicepparam asks for a network, which cannot be switched")
}

func vaultName(t *testing.T, file string) string {
	t.Helper()
	for _, r := range value[[]any](t, readJSON(t, snapshotOf(root+"/bicep/"+file+".bicepparam")), "predictedResources") {
		if value[string](t, r, "type") == "Microsoft.KeyVault/vaults" {
			return value[string](t, r, "name")
		}
	}
	t.Fatal("no vault")
	return ""
}
