package azure

import (
	"slices"
	"strings"
	"testing"
)

// guest is a container app that knows nothing of a sidecar.
func guest(t *testing.T) cloud {
	t.Helper()
	c := empty()
	c.Config = object{"activeRevisionsMode": "Single", "secrets": []any{object{"name": "key"}},
		"ingress": object{"external": true, "targetPort": 3000, "traffic": []any{object{"latestRevision": true, "weight": 100}}}}
	err := c.revise(object{"containers": []any{object{
		"name": "web", "image": "ghcr.io/example/web:1", "resources": object{"cpu": 0.5, "memory": "1Gi"},
		"env":    []any{object{"name": "KEY", "secretRef": "key"}, object{"name": "GREETING", "value": "it's \"quoted\""}},
		"probes": []any{object{"type": "Startup", "tcpSocket": object{"port": 3000}}, object{"type": "Liveness", "tcpSocket": object{"port": 3000}}},
	}}, "scale": object{"minReplicas": 2, "maxReplicas": 4}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func adoptArgs() []string {
	return []string{"--yes", "--sidecar-image", "ghcr.io/example/sidecar@sha256:0", "--database-secret",
		"https://vault.vault.azure.net/secrets/database-url", "--identity", "/subscriptions/0/identity", "--routes", "/in/*=generic+unverified", "sluice"}
}

func container2(t *testing.T, r revision, name string) object {
	t.Helper()
	for _, c := range r.Template["containers"].([]any) {
		if c.(object)["name"] == name {
			return c.(object)
		}
	}
	t.Fatalf("no container %s", name)
	return nil
}

func TestAdoptPutsTheSidecarInFront(t *testing.T) {
	s := newStage(t, guest(t))
	out, code := s.run("adopt", adoptArgs()...)
	wants(t, out, code, 0, "from there to the app on 3000", "Adopted: sluice--0000002")
	c := s.cloud()
	if len(c.Revisions) != 2 {
		t.Fatalf("%d revisions, want one more", len(c.Revisions))
	}
	old, now := container2(t, c.Revisions[0], "web"), container2(t, c.Revisions[1], "web")
	if string(mustJSON(t, old["env"])) != string(mustJSON(t, now["env"])) || old["image"] != now["image"] {
		t.Errorf("the app's own template is %v", now)
	}
	// Either of the others takes the replica out of ingress while the app is away.
	if probes := now["probes"].([]any); len(probes) != 1 || probes[0].(object)["type"] != "Liveness" {
		t.Errorf("probes %v", probes)
	}
	if c.ingress()["targetPort"] != 8080.0 {
		t.Errorf("the ingress goes to %v", c.ingress()["targetPort"])
	}
	sidecar := env(t, container2(t, c.Revisions[1], "sidecar"))
	if sidecar["APP_URL"]["value"] != "http://127.0.0.1:3000" || sidecar["DATABASE_URL"]["secretRef"] != "sluicedatabaseurl" {
		t.Errorf("the sidecar has %v", sidecar)
	}
	out, code = s.run("adopt", adoptArgs()...)
	wants(t, out, code, 0, "has a sidecar already")
}

func TestLeaveProvesThatNothingIsHeld(t *testing.T) {
	s := newStage(t, guest(t))
	s.run("adopt", adoptArgs()...)
	s.env = append(s.env, "SLUICE_WAIT_SECONDS=1")
	stats := func(held string) string {
		return `{"msg":"Stats","state":"passing","app":"healthy","database":true,"held":` + held + `,"failed":0,"oldest_seconds":0}`
	}
	c := s.cloud()
	c.SidecarLog = []string{stats("0"), stats("3")}
	s.set(c)
	out, code := s.run("leave", "--yes", "sluice")
	wants(t, out, code, 1, "Not empty", `"held":3`, "the sidecar stays")
	container2(t, s.cloud().Revisions[2], "sidecar")

	c = s.cloud()
	c.SidecarLog = []string{stats("3"), stats("0"), stats("0")}
	s.set(c)
	out, code = s.run("leave", "--yes", "sluice")
	wants(t, out, code, 0, "goes to the app on 3000 already", "Left: sluice--0000004", "Nothing was held")
	c = s.cloud()
	last := c.Revisions[3].Template["containers"].([]any)
	if len(last) != 1 || c.ingress()["targetPort"] != 3000.0 {
		t.Errorf("containers %v, port %v", last, c.ingress()["targetPort"])
	}
	out, code = s.run("leave", "--yes", "sluice")
	wants(t, out, code, 0, "has no sidecar")
}

// The ingress' port is that of all revisions (learn.microsoft.com,
// container-apps/revisions, application-scope changes): it changes when the
// sidecar listens, and an old revision without one does not come back behind it.
func TestAdoptSwitchesTheIngressLast(t *testing.T) {
	c := guest(t)
	c.Faults.Suffix = "first"
	s := newStage(t, c)
	out, code := s.run("adopt", adoptArgs()...)
	wants(t, out, code, 0, "Adopted: sluice--0000002")
	did := s.changes()
	if want := []string{"containerapp secret set", "rest", "containerapp ingress update"}; !slices.Equal(did, want) {
		t.Errorf("did %q, want %q", did, want)
	}
	s.env = append(s.env, "SLUICE_APP=sluice")
	out, code = s.run("rollback", "--yes")
	wants(t, out, code, 1, "sluice--0000001 has no sidecar, and the ingress goes to it", "scripts/leave")
	if n := len(s.cloud().Revisions); n != 2 {
		t.Errorf("%d revisions, want 2", n)
	}
}

func TestAdoptSaysWhatIsMissing(t *testing.T) {
	s := newStage(t, guest(t))
	out, code := s.run("adopt", "--yes", "sluice")
	wants(t, out, code, 2, "no --sidecar-image", "no --database-secret", "no --identity")
	c := guest(t)
	delete(c.ingress(), "targetPort")
	s = newStage(t, c)
	out, code = s.run("adopt", adoptArgs()...)
	wants(t, out, code, 1, "has no ingress")
	if got := s.changes(); len(got) != 0 {
		t.Errorf("did %q", got)
	}
	out, code = s.run("adopt", "--yes")
	wants(t, out, code, 2, "which app?")
}

// An app that does not come up behind the sidecar: the way back is printed.
func TestAdoptThatFailsSaysHowToGoBack(t *testing.T) {
	c := guest(t)
	c.Faults.NextHealth = "Unhealthy"
	s := newStage(t, c)
	out, code := s.run("adopt", adoptArgs()...)
	wants(t, out, code, 1, "does not serve", "SLUICE_APP=sluice scripts/rollback --resource-group sluice --subscription "+subscription+" sluice--0000001")
	if !slices.Contains(s.changes(), "rest") || strings.Contains(out, "Adopted") {
		t.Errorf("did %q", s.changes())
	}
	c = s.cloud()
	if port := c.ingress()["targetPort"]; port != 3000.0 {
		t.Errorf("the ingress goes to %v, where nobody listens", port)
	}
	// It goes on once the cause is mended.
	c.Faults.NextHealth, c.Revisions[1].Template["mended"] = "", true
	s.set(c)
	out, code = s.run("adopt", adoptArgs()...)
	wants(t, out, code, 0, "Adopted: sluice--0000003")
}
