package check

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
	core "k8s.io/api/core/v1"
)

const root = "../../.."

// process is the sidecar or the app in a home, as the home's file says.
type process struct {
	home    string
	sidecar bool
	env     map[string]string // "" where the value is not in the file
	// killedAfter is the time from SIGTERM to SIGKILL that it can count on.
	killedAfter time.Duration
	signal      string
	startsAfter []string // of "sidecar" and "app"
	probes      []string // paths on the probe listener
	// awaited is the path that must answer before what starts after it is started,
	// "" where it need only run.
	awaited string
}

func (p process) role() string {
	if p.sidecar {
		return "sidecar"
	}
	return "app"
}

// homes are the two processes of every home for which there is a file.
func homes(t *testing.T) (all []process) {
	t.Helper()
	all = append(all, composeHome(t)...)
	all = append(all, systemdHome(t)...)
	all = append(all, kubernetesHome(t, "kubernetes, native", values{})...)
	all = append(all, kubernetesHome(t, "kubernetes, plain", values{"sidecar": values{"native": false}})...)
	for _, file := range []string{"dev", "main", "production"} {
		all = append(all, azureHome(t, file)...)
	}
	return all
}

func composeProject(t *testing.T) *types.Project {
	t.Helper()
	project, err := loader.LoadWithContext(context.Background(), types.ConfigDetails{
		WorkingDir:  "../compose",
		ConfigFiles: []types.ConfigFile{{Filename: "../compose/compose.yaml"}},
		Environment: types.Mapping{},
	}, func(o *loader.Options) { o.SetProjectName("sluice", true) })
	if err != nil {
		t.Fatal(err)
	}
	return project
}

func composeHome(t *testing.T) (both []process) {
	project := composeProject(t)
	for _, name := range []string{"sidecar", "app"} {
		s := project.Services[name]
		p := process{home: "compose", sidecar: name == "sidecar", env: map[string]string{}, signal: s.StopSignal}
		if s.StopGracePeriod != nil {
			p.killedAfter = time.Duration(*s.StopGracePeriod)
		}
		for name, value := range s.Environment {
			p.env[name] = *value
		}
		for other, how := range s.DependsOn {
			if _, known := map[string]bool{"sidecar": true, "app": true}[other]; known {
				p.startsAfter = append(p.startsAfter, other)
				if how.Condition == types.ServiceConditionHealthy {
					p.awaited = healthPath(project.Services[other])
				}
			}
		}
		if p.sidecar {
			p.probes = []string{healthPath(s)}
		}
		both = append(both, p)
	}
	return both
}

// healthPath is the path that a service's health check asks.
func healthPath(s types.ServiceConfig) string {
	if s.HealthCheck == nil {
		return ""
	}
	test := s.HealthCheck.Test
	_, path, _ := strings.Cut(strings.TrimPrefix(test[len(test)-1], "http://"), "/")
	return "/" + path
}

// unit is a systemd unit: the values of each key, in order.
type unit map[string][]string

func readUnit(t *testing.T, name string) unit {
	t.Helper()
	text, err := os.ReadFile("../systemd/" + name)
	if err != nil {
		t.Fatal(err)
	}
	u := unit{}
	for line := range strings.Lines(string(text)) {
		if key, value, is := strings.Cut(strings.TrimSpace(line), "="); is && !strings.HasPrefix(key, "#") {
			u[key] = append(u[key], value)
		}
	}
	return u
}

func (u unit) one(key string) string { return strings.Join(u[key], " ") }

func systemdHome(t *testing.T) (both []process) {
	for name, role := range map[string]string{"sluice": "sidecar", "app": "app"} {
		u := readUnit(t, name+".service")
		seconds, _ := strconv.Atoi(u.one("TimeoutStopSec"))
		p := process{home: "systemd", sidecar: role == "sidecar", env: map[string]string{}, signal: u.one("KillSignal"), killedAfter: time.Duration(seconds) * time.Second}
		settings := strings.Fields(u.one("Environment"))
		for _, line := range readLines(t, "../systemd/"+name+".env") {
			settings = append(settings, line)
		}
		for _, s := range settings {
			name, value, _ := strings.Cut(s, "=")
			p.env[name] = value
		}
		after := strings.Fields(u.one("After") + " " + u.one("Requires") + " " + u.one("BindsTo"))
		if slices.Contains(after, "sluice.service") {
			p.startsAfter = append(p.startsAfter, "sidecar")
		}
		if slices.Contains(after, "app.service") {
			p.startsAfter = append(p.startsAfter, "app")
		}
		both = append(both, p)
	}
	return both
}

func readLines(t *testing.T, path string) (lines []string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			lines = append(lines, line)
		}
	}
	return lines
}

// appReserve is what the app's drain leaves of its grace period: it stops 15 s
// before the SIGKILL (docs/operations.md). A native sidecar ends in that time.
const appReserve = 15 * time.Second

func kubernetesHome(t *testing.T, home string, given values) (both []process) {
	files, err := render(t, loadChart(t), with(given))
	if err != nil {
		t.Fatal(err)
	}
	o := decode(t, files)
	pod := time.Duration(*o.deployment.Spec.Template.Spec.TerminationGracePeriodSeconds) * time.Second
	app, _ := o.container(t, "app")
	hook := time.Duration(0)
	if app.Lifecycle != nil {
		hook = time.Duration(app.Lifecycle.PreStop.Sleep.Seconds) * time.Second
	}
	sidecar, native := o.container(t, "sluice")
	s := process{home: home, sidecar: true, env: variables(sidecar), signal: "SIGTERM", killedAfter: pod}
	a := process{home: home, env: variables(app), signal: "SIGTERM", killedAfter: pod - hook}
	if native { // an init container that stays: the app starts after it, and it ends after the app
		s.killedAfter = appReserve
		a.startsAfter = []string{"sidecar"}
		if sidecar.StartupProbe != nil {
			a.awaited = sidecar.StartupProbe.HTTPGet.Path
		}
	}
	for _, probe := range []*core.Probe{sidecar.StartupProbe, sidecar.ReadinessProbe, sidecar.LivenessProbe} {
		if probe != nil {
			s.probes = append(s.probes, probe.HTTPGet.Path)
		}
	}
	return []process{s, a}
}

func variables(c core.Container) map[string]string {
	env := map[string]string{}
	for _, v := range c.Env {
		env[v.Name] = v.Value
	}
	return env
}

// azureHome reads what bicep makes of a parameter file.
func azureHome(t *testing.T, file string) (both []process) {
	t.Helper()
	var snapshot struct {
		Resources []struct {
			Type       string
			Properties struct {
				Template struct {
					Grace      int `json:"terminationGracePeriodSeconds"`
					Containers []struct {
						Name   string
						Env    []struct{ Name, Value string }
						Probes []struct {
							HTTPGet struct{ Path string }
						}
					}
				}
			}
		} `json:"predictedResources"`
	}
	text, err := os.ReadFile(filepath.Join(root, "bicep", file+".snapshot.json"))
	if err != nil {
		t.Fatal(err)
	}
	// Other resources have properties of the same names and other types.
	var raw struct {
		Resources []json.RawMessage `json:"predictedResources"`
	}
	if err := json.Unmarshal(text, &raw); err != nil {
		t.Fatal(err)
	}
	for _, one := range raw.Resources {
		if !regexp.MustCompile(`"type":\s*"Microsoft.App/containerApps"`).Match(one) {
			continue
		}
		if err := json.Unmarshal([]byte(`{"predictedResources":[`+string(one)+`]}`), &snapshot); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range snapshot.Resources[0].Properties.Template.Containers {
		p := process{home: "azure, " + file, sidecar: c.Name == "sidecar", env: map[string]string{}, signal: "SIGTERM",
			killedAfter: time.Duration(snapshot.Resources[0].Properties.Template.Grace) * time.Second}
		for _, v := range c.Env {
			p.env[v.Name] = v.Value
		}
		for _, probe := range c.Probes {
			if p.sidecar {
				p.probes = append(p.probes, probe.HTTPGet.Path)
			}
		}
		both = append(both, p)
	}
	return both
}
