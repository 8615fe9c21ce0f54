package ingress

import (
	"strings"
	"testing"

	"sluice/sidecar/routes"
)

func TestReasonsHaveNames(t *testing.T) {
	seen := map[string]bool{}
	for why, name := range reasonNames {
		if name == "" || seen[name] {
			t.Errorf("reason %d is called %q", why, name)
		}
		seen[name] = true
	}
}

// FuzzRouteFor checks that a suggested setting has the configured routes and exactly
// one more, for that path.
func FuzzRouteFor(f *testing.F) {
	for _, path := range []string{"/api/github/webhooks", "/a,b", "/a=b", "/a*", "/a+sync", "", "/", "/drain", "/a b", "/\n"} {
		f.Add(path)
	}
	const configured = "/hooks/*=generic,"
	f.Fuzz(func(t *testing.T, path string) {
		setting := routeFor(path, "github", configured)
		if setting == "" {
			return
		}
		parsed, err := routes.Parse(strings.TrimPrefix(setting, "WEBHOOK_ROUTES="), routes.Options{Close: true, Secret: func(string) string { return "" }})
		if err != nil || len(parsed) != 2 || parsed[0].Path != "/hooks/" || parsed[1].Path != path || parsed[1].Name != "github" || parsed[1].Prefix {
			t.Errorf("%q: %q is %v (%v)", path, setting, parsed, err)
		}
	})
}
