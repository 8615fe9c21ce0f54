package azure

import (
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// These are the container app's types as the service has them, as far as its
// limits matter here.
type (
	containerApp struct {
		file string
		spec map[string]any // properties
	}
	container = map[string]any
)

// deployed returns the container app of every snapshot.
func deployed(t *testing.T) []containerApp {
	t.Helper()
	var apps []containerApp
	for _, file := range parameterFiles(t) {
		snapshot := snapshotOf(file)
		for _, r := range value[[]any](t, readJSON(t, snapshot), "predictedResources") {
			if value[string](t, r, "type") == "Microsoft.App/containerApps" {
				apps = append(apps, containerApp{filepath.Base(file), value[map[string]any](t, r, "properties")})
			}
		}
	}
	if len(apps) != len(parameterFiles(t)) {
		t.Fatalf("%d container apps in %d snapshots", len(apps), len(parameterFiles(t)))
	}
	return apps
}

// eachApp runs check for the container app of every parameter file.
func eachApp(t *testing.T, check func(t *testing.T, app containerApp)) {
	for _, app := range deployed(t) {
		t.Run(app.file, func(t *testing.T) { check(t, app) })
	}
}

func (a containerApp) template(t *testing.T) map[string]any {
	return value[map[string]any](t, a.spec, "template")
}

func (a containerApp) container(t *testing.T, name string) container {
	t.Helper()
	containers := value[[]any](t, a.template(t), "containers")
	if len(containers) != 2 {
		t.Fatalf("%d containers, want app and sidecar", len(containers))
	}
	for _, c := range containers {
		if value[string](t, c, "name") == name {
			return c.(container)
		}
	}
	t.Fatalf("no container %q", name)
	return nil
}

func probes(t *testing.T, c container) map[string]any {
	t.Helper()
	byType := map[string]any{}
	for _, p := range value[[]any](t, c, "probes") {
		byType[value[string](t, p, "type")] = p
	}
	return byType
}

func env(t *testing.T, c container) map[string]map[string]any {
	t.Helper()
	byName := map[string]map[string]any{}
	for _, e := range value[[]any](t, c, "env") {
		name := value[string](t, e, "name")
		if byName[name] != nil {
			t.Errorf("%s is set twice", name)
		}
		byName[name] = e.(map[string]any)
	}
	return byName
}

func TestIngressGoesToTheSidecar(t *testing.T) {
	eachApp(t, func(t *testing.T, app containerApp) {
		ingress := value[map[string]any](t, app.spec, "configuration", "ingress")
		port := value[float64](t, ingress, "targetPort")
		if port != 8080 || env(t, app.container(t, "sidecar"))["LISTEN_ADDR"]["value"] != ":8080" {
			t.Errorf("ingress goes to %v, and the sidecar listens on %v", port, env(t, app.container(t, "sidecar"))["LISTEN_ADDR"])
		}
		if ingress["allowInsecure"] != false || ingress["transport"] != "auto" {
			t.Errorf("allowInsecure %v, transport %v", ingress["allowInsecure"], ingress["transport"])
		}
		weights := 0.0
		for _, share := range value[[]any](t, ingress, "traffic") {
			weights += value[float64](t, share, "weight")
		}
		if weights != 100 {
			t.Errorf("traffic weights sum to %v", weights)
		}
	})
}

func TestBothContainersKnowTheGracePeriod(t *testing.T) {
	eachApp(t, func(t *testing.T, app containerApp) {
		grace := value[float64](t, app.template(t), "terminationGracePeriodSeconds")
		// learn.microsoft.com, rest/api/containerapps, Template.
		if grace < 30 || grace > 600 {
			t.Errorf("grace period of %v s, the service takes 30 to 600", grace)
		}
		if slices.Contains([]string{"dev.bicepparam", "main.bicepparam", "production.bicepparam"}, app.file) && grace != 330 {
			t.Errorf("grace period of %v s, want 330", grace)
		}
		for _, name := range []string{"app", "sidecar"} {
			told := env(t, app.container(t, name))["TERMINATION_GRACE_SECONDS"]["value"]
			if told != strconv.Itoa(int(grace)) {
				t.Errorf("%s is told %v, the platform waits %v", name, told, grace)
			}
		}
		window, err := strconv.Atoi(env(t, app.container(t, "app"))["SHUTDOWN_GRACE_MS"]["value"].(string))
		if err != nil || float64(window)/1000 > grace-15 {
			t.Errorf("the app's first window of %d ms does not end 15 s before the kill at %v s", window, grace)
		}
	})
}

func TestProbes(t *testing.T) {
	eachApp(t, func(t *testing.T, app containerApp) {
		ofSidecar := probes(t, app.container(t, "sidecar"))
		for kind, path := range map[string]string{"Startup": "/startupz", "Readiness": "/readyz", "Liveness": "/livez"} {
			get := value[map[string]any](t, ofSidecar, kind, "httpGet")
			if get["path"] != path || get["port"] != 8081.0 {
				t.Errorf("%s asks %v on %v", kind, get["path"], get["port"])
			}
		}
		startup := value[map[string]any](t, ofSidecar, "Startup")
		want := [2]float64{5, 40}
		if app.file == "network.bicepparam" {
			want = [2]float64{20, 10} // within the documented maximum
		}
		if startup["periodSeconds"] != want[0] || startup["failureThreshold"] != want[1] {
			t.Errorf("startup every %v s, up to %v failures; want %v", startup["periodSeconds"], startup["failureThreshold"], want)
		}
		ofApp := probes(t, app.container(t, "app"))
		if len(ofApp) != 1 || ofApp["Liveness"] == nil {
			t.Errorf("the app has probes %v, want liveness alone: any other takes the replica out of ingress while the sidecar should hold", ofApp)
		}
		// It must outlast a start as slow as the sidecar's startup probe allows.
		alive := value[map[string]any](t, ofApp, "Liveness")
		if wait := alive["periodSeconds"].(float64) * alive["failureThreshold"].(float64); wait < 200 {
			t.Errorf("the app is killed after %v s of silence, before the 200 s that a start may take", wait)
		}
		for _, set := range []map[string]any{ofSidecar, ofApp} {
			for kind, p := range set {
				inBounds(t, kind, p)
			}
		}
	})
}

func inBounds(t *testing.T, kind string, probe any) {
	t.Helper()
	for field, limits := range map[string][2]float64{
		"initialDelaySeconds": {1, 60},
		"periodSeconds":       {1, 240},
		"timeoutSeconds":      {1, 240},
		// The reference says 10 (learn.microsoft.com, rest/api/containerapps,
		// ContainerAppProbe); the service has named 30 as its limit
		// (microsoft/azure-container-apps issue 1100) and has been seen to take 240
		// for startup (hashicorp/terraform-provider-azurerm issue 31980). Only
		// startup needs more than 10 here.
		"failureThreshold": {1, map[string]float64{"Startup": 240}[kind]},
	} {
		limits[1] = max(limits[1], 10)
		if v := value[float64](t, probe, field); v < limits[0] || v > limits[1] {
			t.Errorf("%s: %s is %v, the service takes %v to %v", kind, field, v, limits[0], limits[1])
		}
	}
}

func TestResourcesSumToASizeThePlatformHas(t *testing.T) {
	eachApp(t, func(t *testing.T, app containerApp) {
		var cpu, memory float64
		for _, name := range []string{"app", "sidecar"} {
			resources := value[map[string]any](t, app.container(t, name), "resources")
			cpu += resources["cpu"].(float64)
			gi, err := strconv.ParseFloat(strings.TrimSuffix(resources["memory"].(string), "Gi"), 64)
			if err != nil {
				t.Fatal(err)
			}
			memory += gi
		}
		// learn.microsoft.com, container-apps/containers, allocations: steps of a
		// quarter, 4 vCPU at most, 2 GiB to each.
		if quarters := cpu * 4; quarters != float64(int(quarters)) || cpu < 0.25 || cpu > 4 || memory != 2*cpu {
			t.Errorf("%v vCPU and %v Gi in sum", cpu, memory)
		}
	})
}

func TestScale(t *testing.T) {
	rules := map[string]bool{}
	eachApp(t, func(t *testing.T, app containerApp) {
		scale := value[map[string]any](t, app.template(t), "scale")
		least, most := value[float64](t, scale, "minReplicas"), value[float64](t, scale, "maxReplicas")
		// learn.microsoft.com, container-apps/scale-app: 0 to 1000.
		if least < 1 || most < least || most > 1000 {
			t.Errorf("%v to %v replicas", least, most)
		}
		for _, r := range value[[]any](t, scale, "rules") {
			rules[value[string](t, r, "name")] = true
			rule, ok := r.(map[string]any)["custom"].(map[string]any)
			if !ok {
				continue
			}
			if rule["type"] != "postgresql" || rule["identity"] != nil {
				t.Errorf("rule %v: with an identity the platform drops the trigger without a word", rule)
			}
			for _, auth := range value[[]any](t, rule, "auth") {
				defined(t, app, value[string](t, auth, "secretRef"))
			}
		}
	})
	if !rules["http"] || !rules["backlog"] {
		t.Errorf("the snapshots show the rules %v, want http and backlog", rules)
	}
}

func TestRevisionModes(t *testing.T) {
	modes := map[any]bool{}
	for _, app := range deployed(t) {
		modes[value[any](t, app.spec, "configuration", "activeRevisionsMode")] = true
	}
	if !modes["Single"] || !modes["Multiple"] {
		t.Errorf("the snapshots show the modes %v, want Single and Multiple", modes)
	}
}

// Nothing in the code has a spool, so neither template nor image has a place
// for one.
func TestNothingStandsForASpool(t *testing.T) {
	eachApp(t, func(t *testing.T, app containerApp) {
		if volumes := app.template(t)["volumes"]; volumes != nil {
			t.Errorf("volumes %v", volumes)
		}
	})
	for _, file := range []string{"Dockerfile.sidecar", "Dockerfile.app", "bicep/modules/alerts.bicep", "bicep/modules/container-app.bicep"} {
		if strings.Contains(string(readFile(t, root+"/"+file)), "spool") {
			t.Errorf("%s speaks of a spool", file)
		}
	}
}

// A deploy runs the replicas of two revisions side by side, each with the
// connections of both binaries.
func TestConnectionsSufficeDuringADeploy(t *testing.T) {
	const perReplica = 10 + 6 // the app's DATABASE_MAX_CONNS and the sidecar's
	// learn.microsoft.com, postgresql/flexible-server/concepts-limits, user connections.
	connections := map[string]float64{"Standard_B1ms": 35, "Standard_B2s": 414, "Standard_D2ds_v5": 844}
	judged := 0
	for _, file := range parameterFiles(t) {
		resources := value[[]any](t, readJSON(t, snapshotOf(file)), "predictedResources")
		var sku string
		var replicas float64
		for _, r := range resources {
			switch value[string](t, r, "type") {
			case "Microsoft.DBforPostgreSQL/flexibleServers":
				sku = value[string](t, r, "sku", "name")
			case "Microsoft.App/containerApps":
				replicas = value[float64](t, r, "properties", "template", "scale", "maxReplicas")
			}
		}
		if sku == "" {
			continue // a server that was brought in
		}
		judged++
		if need := 2 * replicas * perReplica; need > connections[sku] {
			t.Errorf("%s: %v connections in a deploy, %s has %v", filepath.Base(file), need, sku, connections[sku])
		}
	}
	if judged < 4 {
		t.Errorf("only %d servers judged", judged)
	}
}

// Names have the form that the service wants: 2 to 32 letters, digits and single
// dashes (azure-cli, containerapp/_utils.py, validate_container_app_name), 24 at
// most for a vault (learn.microsoft.com, resource-name-rules). The longest name
// that main.bicep takes is 20.
func TestNamesAreLegal(t *testing.T) {
	legal := regexp.MustCompile(`^[a-z]([a-z0-9]|-[a-z0-9])*$`)
	longest := map[string]int{"Microsoft.App/containerApps": 32, "Microsoft.App/jobs": 32, "Microsoft.KeyVault/vaults": 24,
		"Microsoft.DBforPostgreSQL/flexibleServers": 63, "Microsoft.App/managedEnvironments": 60}
	judged := 0
	for _, file := range parameterFiles(t) {
		short := len(one(t, file, "Microsoft.App/containerApps")["name"].(string))
		for kind, most := range longest {
			for _, r := range resources(t, file, kind) {
				judged++
				name := value[string](t, r, "name")
				if !legal.MatchString(name) || kind == "Microsoft.App/jobs" && len(name)-short+20 > most || len(name) > most {
					t.Errorf("%s: %s %q", filepath.Base(file), kind, name)
				}
			}
		}
	}
	if judged < 15 {
		t.Errorf("only %d names", judged)
	}
}
