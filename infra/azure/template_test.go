package azure

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// resources returns those of a snapshot that are of a type.
func resources(t *testing.T, file, kind string) []object {
	t.Helper()
	var found []object
	for _, r := range value[[]any](t, readJSON(t, snapshotOf(file)), "predictedResources") {
		if value[string](t, r, "type") == kind {
			found = append(found, r.(object))
		}
	}
	return found
}

func one(t *testing.T, file, kind string) object {
	t.Helper()
	found := resources(t, file, kind)
	if len(found) != 1 {
		t.Fatalf("%s has %d of %s, want one", filepath.Base(file), len(found), kind)
	}
	return found[0]
}

const (
	mainFile       = root + "/bicep/main.bicepparam"
	devFile        = root + "/bicep/dev.bicepparam"
	productionFile = root + "/bicep/production.bicepparam"
	serverType     = "Microsoft.DBforPostgreSQL/flexibleServers"
)

// A failed or running deployment has no outputs: the scripts find everything by
// its tags.
func TestEverythingIsFoundByItsTags(t *testing.T) {
	for _, file := range []string{mainFile, devFile, productionFile} {
		roles := map[string]bool{}
		installation := ""
		for _, r := range value[[]any](t, readJSON(t, snapshotOf(file)), "predictedResources") {
			tags, ok := r.(object)["tags"].(object)
			if !ok {
				continue
			}
			roles[value[string](t, tags, "sluice-role")] = true
			installation = value[string](t, tags, "sluice-installation")
		}
		for _, role := range []string{"app", "registry", "vault", "server", "environment", "workspace", "platform", "runtime"} {
			if !roles[role] {
				t.Errorf("%s: nothing has the role %s", filepath.Base(file), role)
			}
		}
		if app := one(t, file, "Microsoft.App/containerApps"); installation != app["name"] {
			t.Errorf("%s: the installation is %s, the app %s", filepath.Base(file), installation, app["name"])
		}
	}
}

// Three files are three installations, also in one resource group.
func TestEachParameterFileHasANameOfItsOwn(t *testing.T) {
	names := map[any]string{}
	for _, file := range []string{mainFile, devFile, productionFile} {
		name := one(t, file, "Microsoft.App/containerApps")["name"]
		if other := names[name]; other != "" {
			t.Errorf("%s and %s are both %v", other, file, name)
		}
		names[name] = file
	}
}

// azure-cli, containerapp/_utils.py, _update_revision_env_secretrefs: what
// contains the app's name and a dash is cut.
func TestSecretNamesHaveNoDash(t *testing.T) {
	eachApp(t, func(t *testing.T, app containerApp) {
		for _, s := range value[[]any](t, app.spec, "configuration", "secrets") {
			name := value[string](t, s, "name")
			if kept(app, name) {
				continue
			}
			if strings.Contains(name, "-") || !strings.Contains(value[string](t, s, "keyVaultUrl"), "secrets/") {
				t.Errorf("secret %q", name)
			}
		}
	})
}

// What the template leaves out of the ingress is removed
// (microsoft/azure-container-apps issues 957 and 1429).
func TestIngressKeepsDomainsAndRules(t *testing.T) {
	for _, app := range deployed(t) {
		ingress := value[object](t, app.spec, "configuration", "ingress")
		domains := value[[]any](t, ingress, "customDomains")
		rules := value[[]any](t, ingress, "ipSecurityRestrictions")
		if app.file != "existing.bicepparam" {
			if len(domains)+len(rules) != 0 {
				t.Errorf("%s: %v, %v", app.file, domains, rules)
			}
			continue
		}
		// The first has a managed certificate, which the platform makes.
		if len(domains) != 2 || value[string](t, domains[0], "bindingType") != "Auto" ||
			value[string](t, domains[1], "bindingType") != "SniEnabled" || value[string](t, domains[1], "certificateId") == "" {
			t.Errorf("domains %v", domains)
		}
		if len(rules) != 1 || value[string](t, rules[0], "ipAddressRange") != "140.82.112.0/20" {
			t.Errorf("rules %v", rules)
		}
	}
}

// Commands that hooks run reach every identity of their container
// (learn.microsoft.com, container-apps/managed-identity): neither the one that
// reads the vault nor the server's administrator is among them.
func TestContainersHaveOneIdentityThatIsNoAdministrator(t *testing.T) {
	eachApp(t, func(t *testing.T, app containerApp) {
		lifecycles := map[string]string{}
		for _, s := range value[[]any](t, app.spec, "configuration", "identitySettings") {
			id := value[string](t, s, "identity")
			if kept(app, id) {
				continue
			}
			lifecycles[id[strings.LastIndexByte(id, '-')+1:]] = value[string](t, s, "lifecycle")
		}
		if len(lifecycles) != 2 || lifecycles["platform"] != "None" || lifecycles["runtime"] != "Main" {
			t.Errorf("identities %v", lifecycles)
		}
		for _, list := range []string{"registries", "secrets"} {
			for _, s := range value[[]any](t, app.spec, "configuration", list) {
				if s.(object)["passwordSecretRef"] != nil || kept(app, s.(object)["name"]) {
					continue
				}
				if !strings.HasSuffix(value[string](t, s, "identity"), "-platform") {
					t.Errorf("%s: %v", list, s)
				}
			}
		}
	})
	for _, file := range []string{mainFile, productionFile} {
		for _, r := range resources(t, file, serverType+"/administrators") {
			if name := value[string](t, r, "properties", "principalName"); !strings.HasSuffix(name, "-identity") {
				t.Errorf("%s is an administrator", name)
			}
		}
		job := one(t, file, "Microsoft.App/jobs")
		container := value[[]any](t, job, "properties", "template", "containers")[0]
		if command := value[[]any](t, container, "command"); !slices.Equal(command, []any{"/sidecar", "grant"}) {
			t.Errorf("the job runs %v", command)
		}
		if role := value[[]any](t, container, "args")[1]; !strings.HasSuffix(role.(string), "-runtime") {
			t.Errorf("the job grants to %v", role)
		}
	}
}

// The scaler's role, its secret and its sign-in are made by the deployment, and
// only where they are wanted: a failing scaler freezes all scaling
// (microsoft/azure-container-apps issue 1786).
func TestBacklogRuleOnlyWhereItIsWanted(t *testing.T) {
	const networkFile = "testdata/network.bicepparam"
	for file, wanted := range map[string]bool{mainFile: false, productionFile: false, networkFile: true} {
		server := one(t, file, serverType)
		if got := value[string](t, server, "properties", "authConfig", "passwordAuth") == "Enabled"; got != wanted {
			t.Errorf("%s: password sign-in %v, want %v", file, got, wanted)
		}
		job := one(t, file, "Microsoft.App/jobs")
		args := string(mustJSON(t, value[[]any](t, job, "properties", "template", "containers")[0].(object)["args"]))
		if strings.Contains(args, "--scaler") != wanted {
			t.Errorf("%s: the job has %s", file, args)
		}
		rules := 0
		for _, app := range deployed(t) {
			if app.file == filepath.Base(file) {
				rules = len(value[[]any](t, app.template(t), "scale", "rules"))
			}
		}
		if (rules == 2) != wanted {
			t.Errorf("%s: %d rules", file, rules)
		}
	}
}

func TestDefaultsOfAFirstRealInstallation(t *testing.T) {
	for _, file := range []string{mainFile, productionFile} {
		app := one(t, file, "Microsoft.App/containerApps")
		if least := value[float64](t, app, "properties", "template", "scale", "minReplicas"); least < 2 {
			t.Errorf("%s: %v replicas leave a gap", file, least)
		}
		network := value[object](t, one(t, file, serverType), "properties", "network")
		if network["delegatedSubnetResourceId"] == nil {
			t.Errorf("%s: the server has public access", file)
		}
		if len(resources(t, file, "Microsoft.Insights/scheduledQueryRules")) == 0 {
			t.Errorf("%s: no alerts", file)
		}
		sidecar := env(t, containerApp{spec: app["properties"].(object)}.container(t, "sidecar"))
		for _, name := range []string{"BUFFER_KEY", "SLUICE_SECRET", "LANES"} {
			if sidecar[name] == nil {
				t.Errorf("%s: no %s", file, name)
			}
		}
	}
	dev := one(t, devFile, "Microsoft.App/containerApps")
	if env(t, containerApp{spec: dev["properties"].(object)}.container(t, "app"))["SLUICE_SECRET"] == nil {
		t.Error("dev has no SLUICE_SECRET")
	}
}

func TestProductionHasWhatProductionNeeds(t *testing.T) {
	server := value[object](t, one(t, productionFile, serverType), "properties")
	for path, want := range map[string]any{
		"backup.geoRedundantBackup":      "Enabled",
		"highAvailability.mode":          "ZoneRedundant",
		"maintenanceWindow.customWindow": "Enabled",
	} {
		group, field, _ := strings.Cut(path, ".")
		if got := server[group].(object)[field]; got != want {
			t.Errorf("%s is %v, want %v", path, got, want)
		}
	}
	if one(t, productionFile, "Microsoft.App/managedEnvironments")["properties"].(object)["zoneRedundant"] != true {
		t.Error("the environment is in one zone")
	}
	if n := len(resources(t, productionFile, "Microsoft.Authorization/locks")); n != 2 {
		t.Errorf("%d locks, want the server's and the vault's", n)
	}
	if n := len(resources(t, productionFile, "Microsoft.Insights/diagnosticSettings")); n != 4 {
		t.Errorf("%d diagnostic settings, want those of environment, server, vault and registry", n)
	}
	for _, file := range []string{mainFile, devFile, productionFile} {
		if one(t, file, "Microsoft.KeyVault/vaults")["properties"].(object)["enablePurgeProtection"] != true {
			t.Errorf("%s: the vault can be emptied", file)
		}
	}
}

// An environment that was brought in has a profile of its own name, or none.
func TestExistingEnvironmentKeepsItsProfileAndItsAlerts(t *testing.T) {
	const file = "testdata/existing.bicepparam"
	app := one(t, file, "Microsoft.App/containerApps")
	if got := value[string](t, app, "properties", "workloadProfileName"); got != "D4" {
		t.Errorf("the profile is %s", got)
	}
	if len(resources(t, file, "Microsoft.Insights/scheduledQueryRules")) < 5 {
		t.Error("no alerts of the log")
	}
	if !strings.Contains(string(readFile(t, root+"/bicep/main.bicep")), "fail('alerts with an environment that was brought in") {
		t.Error("an environment without a workspace drops the alerts without a word")
	}
}

// A rule of the calendar may fail CI (TestTemplateAndParametersHaveNoWarning),
// not a deploy.
func TestNewApiVersionsAreNoErrorOfADeploy(t *testing.T) {
	rules := value[object](t, readJSON(t, root+"/bicep/bicepconfig.json"), "analyzers", "core", "rules")
	for _, rule := range []string{"use-recent-api-versions", "use-recent-module-versions"} {
		if level := value[string](t, rules, rule, "level"); level != "warning" {
			t.Errorf("%s is %s", rule, level)
		}
	}
}

// kept says whether an identity or a secret is one of the revision before, which
// scripts/deploy hands in; of the snapshots existing.bicepparam has them.
func kept(app containerApp, what any) bool {
	text, _ := what.(string)
	return app.file == "existing.bicepparam" && (text == "sluice-secret" || strings.HasSuffix(text, "/sluice-guest-identity"))
}

// An update takes off the app what it does not name: identities and secrets are
// the app's, not a revision's (learn.microsoft.com, container-apps/revisions,
// application-scope changes).
func TestPreviousIdentitiesAndSecretsStay(t *testing.T) {
	app := one(t, "testdata/existing.bicepparam", "Microsoft.App/containerApps")
	assigned := value[object](t, app, "identity", "userAssignedIdentities")
	ids := slices.Collect(maps.Keys(assigned))
	if len(ids) != 3 || !slices.ContainsFunc(ids, func(id string) bool { return strings.HasSuffix(id, "/sluice-guest-identity") }) {
		t.Errorf("identities %v", ids)
	}
	names := []any{}
	for _, s := range value[[]any](t, app, "properties", "configuration", "secrets") {
		names = append(names, s.(object)["name"])
	}
	if !slices.Contains(names, "sluice-secret") || !slices.Contains(names, "sluicesecret") {
		t.Errorf("secrets %v", names)
	}
}

// A private package of ghcr.io is pulled with a token that the vault has, by the
// app and by the database job.
func TestPrivateRegistriesHaveTheirTokenFromTheVault(t *testing.T) {
	app := one(t, "testdata/existing.bicepparam", "Microsoft.App/containerApps")
	list := value[[]any](t, app, "properties", "configuration", "registries")
	if len(list) != 2 || value[string](t, list[1], "server") != "ghcr.io" || value[string](t, list[1], "passwordSecretRef") != "ghcrtoken" {
		t.Errorf("registries %v", list)
	}
	job := string(readFile(t, root+"/bicep/modules/database-job.bicep"))
	if !strings.Contains(job, "map(imageLogins, login => {\n          server: login.server") {
		t.Error("the database job cannot pull")
	}
}

// A line is in the workspace some minutes after it was logged (learn.microsoft.com,
// azure-monitor/logs/data-ingestion-time), and Stats is one line a minute.
func TestLogAlertsLookBackFurtherThanLinesAreLate(t *testing.T) {
	for _, r := range resources(t, productionFile, "Microsoft.Insights/scheduledQueryRules") {
		if got := value[string](t, r, "properties", "windowSize"); got != "PT15M" {
			t.Errorf("%v looks back %s", r["name"], got)
		}
	}
}
