package azure

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

// before is an installation of the version before: one identity for everything,
// secrets under the names that the vault has, no tags.
func before(t *testing.T, mode string) cloud {
	t.Helper()
	c := running(t, mode)
	c.Revisions = c.Revisions[:1]
	c.Revisions[0].Active, c.Revisions[0].Weight = true, 100
	id := "/subscriptions/" + subscription + "/resourceGroups/sluice/providers/Microsoft.ManagedIdentity/userAssignedIdentities/sluice-identity"
	c.Identities = map[string]string{id: clientID(id)}
	renamed := strings.NewReplacer("bufferkey", "buffer-key", "githubwebhooksecret", "github-webhook-secret", "sluicesecret", "sluice-secret")
	for _, s := range c.Config["secrets"].([]any) {
		s.(object)["identity"], s.(object)["name"] = id, renamed.Replace(s.(object)["name"].(string))
	}
	for _, container := range c.Revisions[0].Template["containers"].([]any) {
		for _, e := range container.(object)["env"].([]any) {
			if e := e.(object); e["name"] == "AZURE_CLIENT_ID" {
				e["value"] = clientID(id)
			} else if ref, ok := e["secretRef"].(string); ok {
				e["secretRef"] = renamed.Replace(ref)
			}
		}
	}
	for i := range c.Resources {
		c.Resources[i].Tags = nil
	}
	return c
}

func (c *cloud) identityNames() []string {
	var names []string
	for _, client := range slices.Sorted(maps.Values(c.Identities)) {
		names = append(names, strings.TrimPrefix(client, "client-of-"))
	}
	return names
}

// Identities and secrets are the app's, not a revision's: as long as the revision
// of before runs it keeps both, so that its replicas start during the deploy, and
// a rollback across the upgrade finds them.
func TestUpgradeKeepsWhatTheOldRevisionNeeds(t *testing.T) {
	for _, mode := range []string{"Single", "Multiple"} {
		t.Run(mode, func(t *testing.T) {
			s := newStage(t, before(t, mode))
			out, code := s.run("deploy", "--yes", "--tag", "abc")
			wants(t, out, code, 0, "Deployed abc as sluice--0000002")
			c := s.cloud()
			if got, want := c.identityNames(), []string{"sluice-identity", "sluice-platform", "sluice-runtime"}; !slices.Equal(got, want) {
				t.Errorf("the app has %q, want %q", got, want)
			}
			for _, r := range c.Revisions {
				if err := c.checkSecretRefs(r.Template); err != nil {
					t.Errorf("%s: %v", r.Name, err)
				}
			}
			if mode == "Single" {
				out, code = s.run("rollback", "--yes")
				wants(t, out, code, 0, "goes back to sluice--0000001", "Rolled back: sluice--0000003")
			}
		})
	}
}

// Once no revision that runs needs it, the administrator's identity is taken off
// the app; a rollback across that says what to do before it changes anything.
func TestRollbackToARevisionWhoseIdentityIsGone(t *testing.T) {
	s := newStage(t, before(t, "Single"))
	s.run("deploy", "--yes", "--tag", "abc")
	s.run("deploy", "--yes", "--tag", "def")
	c := s.cloud()
	if got, want := c.identityNames(), []string{"sluice-platform", "sluice-runtime"}; !slices.Equal(got, want) {
		t.Errorf("the app has %q, want %q", got, want)
	}
	did := len(s.changes())
	out, code := s.run("rollback", "--yes", "sluice--0000001")
	wants(t, out, code, 1, "no longer has", "az containerapp identity assign --name sluice --resource-group sluice --subscription "+
		subscription+" --user-assigned sluice-identity", "docs/azure.md#upgrading-an-installation-of-before")
	if got := s.changes(); len(got) != did {
		t.Errorf("did %q all the same", got[did:])
	}
}

// Geo-redundant backups and zones are chosen when a thing is made
// (learn.microsoft.com, postgresql/flexible-server/concepts-backup-restore and
// reliability/reliability-azure-container-apps).
func TestDeployDoesNotTryToSwitchWhatCannotBe(t *testing.T) {
	s := newStage(t, empty())
	s.env = append(s.env, "SLACK_SIGNING_SECRET="+secret)
	args := []string{"--yes", "--tag", "abc", "--parameters", "bicep/production.bicepparam"}
	s.run("deploy", args...)
	c := s.cloud()
	for _, r := range c.Resources {
		switch r.Type {
		case serverType:
			r.Properties["backup"].(object)["geoRedundantBackup"] = "Disabled"
		case "Microsoft.App/managedEnvironments":
			r.Properties["zoneRedundant"] = false
		}
	}
	s.set(c)
	did := len(s.changes())
	out, code := s.run("deploy", args...)
	wants(t, out, code, 2, "has geo-redundant backups Disabled, and production.bicepparam asks for Enabled, which cannot be switched",
		"geoBackup: false in the file", "has zoneRedundant: false, and production.bicepparam asks for true", "zoneRedundant: false in the file")
	if got := s.changes(); len(got) != did {
		t.Errorf("did %q all the same", got[did:])
	}
}

// Whoever may deploy may list the vault's secrets by the control plane, without a
// role in the vault and from outside its firewall.
func TestDeployListsSecretsByTheControlPlane(t *testing.T) {
	c := running(t, "Single")
	c.Faults.SecretsHidden = true
	c.Secrets = []string{"buffer-key", "sluice-secret"}
	s := newStage(t, c)
	s.env = append(s.env, "SLUICE_SECRET=", "GITHUB_WEBHOOK_SECRET=")
	out, code := s.run("deploy", "--yes", "--tag", "abc")
	wants(t, out, code, 2, "GITHUB_WEBHOOK_SECRET is not set, and there is no secret github-webhook-secret")

	c.Secrets = []string{"another", "buffer-key", "github-webhook-secret", "last", "sluice-secret"} // three pages
	s.set(c)
	out, code = s.run("deploy", "--yes", "--tag", "abc")
	wants(t, out, code, 0, "Deployed abc")
	if strings.Contains(out, "cannot be listed") || strings.Contains(out, "Made ") {
		t.Error("the list is not whole")
	}
}

// Without the job the new revision could not sign in: it is never left out
// without a word.
func TestDeployDoesNotLeaveTheDatabaseJobOut(t *testing.T) {
	c := empty()
	c.Faults.NoOutputs = true
	s := newStage(t, c)
	out, code := s.run("deploy", "--yes", "--tag", "abc")
	wants(t, out, code, 1, "does not say which job", "docs/azure.md#the-database-role", "it goes on where it stopped")
	if n := len(s.cloud().Revisions); n != 0 {
		t.Errorf("%d revisions", n)
	}
	c = s.cloud()
	c.Faults.NoOutputs = false
	s.set(c)
	out, code = s.run("deploy", "--yes", "--tag", "abc")
	wants(t, out, code, 0, "Giving the containers their role in the database (sluice-database)", "Deployed abc")
}

// What is printed to be pasted is whole: another terminal has another default
// subscription and no SLUICE_NAME.
func TestTheWayBackCanBePasted(t *testing.T) {
	c := running(t, "Single")
	c.Faults.NextHealth = "Unhealthy"
	s := newStage(t, c)
	s.env = append(s.env, "SLUICE_NAME=sluice")
	out, code := s.run("deploy", "--yes", "--tag", "bad")
	wants(t, out, code, 1, "SLUICE_NAME=sluice scripts/rollback --resource-group sluice --subscription "+subscription+
		" --parameters bicep/main.bicepparam sluice--0000002")
}

// A provider's status may be text, have several lines, or the reason in its
// details; a resource may have no name.
func TestStatusShowsWhateverAFailureSays(t *testing.T) {
	c := running(t, "Single")
	failed := func(message any) object {
		return object{"properties": object{"provisioningState": "Failed", "statusMessage": message,
			"targetResource": object{"resourceType": "Microsoft.App/jobs"}}}
	}
	c.Deployments["sluice-sluice"] = deployment{State: "Failed", Operations: []object{
		failed("plain text"),
		failed(object{"error": object{"code": "Outer", "message": "first line\nsecond line",
			"details": []object{{"code": "Inner", "message": "the reason"}}}}),
		failed(nil),
	}}
	out, code := newStage(t, c).run("status")
	wants(t, out, code, 0, "Microsoft.App/jobs -: plain text\n", "Microsoft.App/jobs -: Outer: first line second line: Inner: the reason\n",
		"Microsoft.App/jobs -: null\n")
}
