package check

import (
	"bytes"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	policy "k8s.io/api/policy/v1"
	"sigs.k8s.io/yaml"
)

var update = flag.Bool("update", false, "write the rendered manifests")

const kubernetes = "../kubernetes"

// values are settings of the chart.
type values = map[string]any

// leastValues are those without which nothing is rendered.
func leastValues() values {
	return values{
		"sidecar": values{
			"image":   "registry.example/sluice/sidecar:1.0.0",
			"secrets": values{"DATABASE_URL": values{"name": "sluice", "key": "database-url"}},
		},
		"app": values{"image": "registry.example/shop:1.0.0", "command": []any{"/sidecar", "exec", "--", "/shop"}},
	}
}

// with returns the least values with others over them.
func with(more values) values {
	return chartutil.CoalesceTables(more, leastValues())
}

func loadChart(t *testing.T) *chart.Chart {
	t.Helper()
	c, err := loader.Load(kubernetes + "/chart")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// render returns what the chart's templates give, by template, without the empty
// ones.
func render(t *testing.T, c *chart.Chart, given values) (map[string]string, error) {
	t.Helper()
	if err := chartutil.ProcessDependenciesWithMerge(c, given); err != nil {
		t.Fatal(err)
	}
	all, err := chartutil.ToRenderValues(c, given, chartutil.ReleaseOptions{Name: "shop", Namespace: "default", Revision: 1, IsInstall: true}, chartutil.DefaultCapabilities)
	if err != nil {
		return nil, err
	}
	files, err := engine.Render(c, all)
	maps.DeleteFunc(files, func(name, text string) bool {
		return strings.TrimSpace(text) == "" || strings.HasSuffix(name, "NOTES.txt")
	})
	return files, err
}

// objects are what the chart makes, decoded as the API server does: a field that
// it does not know is an error.
type objects struct {
	deployment *apps.Deployment
	service    *core.Service
	budget     *policy.PodDisruptionBudget
}

func decode(t *testing.T, files map[string]string) (o objects) {
	t.Helper()
	for name, text := range files {
		var into any
		switch filepath.Base(name) {
		case "deployment.yaml":
			o.deployment = &apps.Deployment{}
			into = o.deployment
		case "service.yaml":
			o.service = &core.Service{}
			into = o.service
		case "poddisruptionbudget.yaml":
			o.budget = &policy.PodDisruptionBudget{}
			into = o.budget
		default:
			t.Fatalf("%s is not known here", name)
		}
		if err := yaml.UnmarshalStrict([]byte(text), into); err != nil {
			t.Errorf("%s: %v\n%s", name, err, text)
		}
	}
	return o
}

// container returns one of the pod's containers by name.
func (o objects) container(t *testing.T, name string) (c core.Container, native bool) {
	t.Helper()
	pod := o.deployment.Spec.Template.Spec
	for _, c := range pod.Containers {
		if c.Name == name {
			return c, false
		}
	}
	for _, c := range pod.InitContainers {
		if c.Name == name {
			return c, c.RestartPolicy != nil && *c.RestartPolicy == core.ContainerRestartPolicyAlways
		}
	}
	t.Fatalf("no container %s", name)
	return c, false
}

func TestChartRendersOverItsValues(t *testing.T) {
	c := loadChart(t)
	for _, native := range []bool{true, false} {
		for _, budget := range []bool{true, false} {
			for _, dressed := range []values{
				{},
				{"replicas": 1, "grace": values{"preStop": 0, "app": 60, "sidecar": 10}},
				{
					"imagePullSecrets": []any{values{"name": "registry"}}, "serviceAccountName": "shop",
					"podAnnotations": values{"a": "b"}, "podLabels": values{"team": "shop"}, "nodeSelector": values{"kubernetes.io/arch": "arm64"},
					"tolerations":               []any{values{"key": "spot", "operator": "Exists"}},
					"affinity":                  values{"nodeAffinity": values{"requiredDuringSchedulingIgnoredDuringExecution": values{"nodeSelectorTerms": []any{}}}},
					"topologySpreadConstraints": []any{values{"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway"}},
					"service":                   values{"type": "NodePort", "annotations": values{"c": "d"}},
					"app": values{"args": []any{"--verbose"}, "liveness": false, "env": values{"A": 1, "B": true},
						"secrets": values{"TOKEN": values{"name": "shop", "key": "token"}}},
				},
			} {
				given := with(chartutil.CoalesceTables(values{"sidecar": values{"native": native}, "podDisruptionBudget": values{"enabled": budget}}, dressed))
				files, err := render(t, c, given)
				if err != nil {
					t.Fatalf("%v: %v", given, err)
				}
				o := decode(t, files)
				if _, is := o.container(t, "sluice"); is != native {
					t.Errorf("native sidecar: %v, want %v", is, native)
				}
				if (o.budget != nil) != budget || o.service == nil {
					t.Errorf("budget %v, service %v", o.budget, o.service)
				}
				if o.deployment.Spec.Selector.MatchLabels["app.kubernetes.io/instance"] != o.service.Spec.Selector["app.kubernetes.io/instance"] {
					t.Error("the Service does not select the pods")
				}
			}
		}
	}
	if files, err := render(t, c, with(values{"enabled": false})); err != nil || len(files) > 0 {
		t.Errorf("enabled: false renders %v, %v", slices.Collect(maps.Keys(files)), err)
	}
}

func TestChartRefusesWhatCannotWork(t *testing.T) {
	c := loadChart(t)
	for _, refused := range []struct {
		given values
		want  string
	}{
		{values{"app": values{"image": "x"}, "sidecar": values{"image": "x"}}, "sidecar.secrets.DATABASE_URL is required"},
		{with(values{"sidecar": values{"image": ""}}), "sidecar.image is required"},
		{with(values{"app": values{"image": ""}}), "app.image is required"},
		{with(values{"grace": values{"sidecar": 30}}), "grace.sidecar may be 15 at most"},
		{with(values{"sidecar": values{"secrets": values{"SLUICE_SECRET": values{"key": "a"}}}}), "the Secret of SLUICE_SECRET needs a name"},
	} {
		if _, err := render(t, c, refused.given); err == nil || !strings.Contains(err.Error(), refused.want) {
			t.Errorf("%v, want %s", err, refused.want)
		}
	}
}

// A chart of one's own takes only the template of the container.
func TestContainerIsIncludedInAnotherChart(t *testing.T) {
	parent := &chart.Chart{
		Metadata: &chart.Metadata{APIVersion: "v2", Name: "shop", Version: "1.0.0"},
		Values:   values{"sluice": chartutil.CoalesceTables(values{"enabled": false}, leastValues())},
		Templates: []*chart.File{{Name: "templates/deployment.yaml", Data: []byte(`apiVersion: apps/v1
kind: Deployment
metadata: {name: shop}
spec:
  template:
    spec:
      terminationGracePeriodSeconds: 340
      initContainers:
        {{- include "sluice.container" (dict "Values" .Values.sluice) | nindent 8 }}
      containers:
        - name: app
`)}},
	}
	parent.AddDependency(loadChart(t))
	files, err := render(t, parent, values{})
	if err != nil || len(files) != 1 {
		t.Fatalf("%v renders, %v", slices.Collect(maps.Keys(files)), err)
	}
	if _, native := decode(t, files).container(t, "sluice"); !native {
		t.Error("it is no native sidecar")
	}
}

// The manifests for those who have no Helm are what the chart renders.
func TestRenderedManifestsAreTheChart(t *testing.T) {
	c := loadChart(t)
	for name, given := range map[string]values{"native": {}, "plain": {"sidecar": values{"native": false}}} {
		files, err := render(t, c, with(given))
		if err != nil {
			t.Fatal(err)
		}
		want := bytes.NewBufferString("# Rendered from the chart beside it; do not edit. Change the two images, and\n# make the Secret: docs/homes/kubernetes.md\n")
		for _, file := range slices.Sorted(maps.Keys(files)) {
			want.WriteString("---\n" + strings.TrimSpace(files[file]) + "\n")
		}
		path := filepath.Join(kubernetes, "rendered", name+".yaml")
		if *update {
			if err := os.WriteFile(path, want.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want.Bytes()) {
			t.Errorf("%s is not what the chart renders (%v): run this test with -update", path, err)
		}
	}
}
