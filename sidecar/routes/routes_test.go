package routes

import (
	"fmt"
	"strings"
	"testing"
)

// from gives the secrets of a map.
func from(env map[string]string) Options {
	return Options{Secret: func(name string) string { return env[name] }}
}

func TestParse(t *testing.T) {
	routes, err := Parse("/g=github, /c=generic:X-Sig:MY_SECRET+name=ci ,,/d=generic:X-Sig,/s=slack+sync+unverified,/m=meta,/p/*=generic+204+1500ms+unverified,/p/=github+retry", from(map[string]string{
		"GITHUB_WEBHOOK_SECRET": " new-secret , old-secret,", "GITHUB_WEBHOOK_SECRET_2": "with,a comma", "GITHUB_WEBHOOK_SECRET_4": "after a gap",
		"MY_SECRET": "my secret", "META_APP_SECRET": "app secret", "GENERIC_WEBHOOK_SECRET": "by default",
	}))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range routes {
		got = append(got, fmt.Sprintf("%v %s %v %q %v %v %d %s", r, r.Path, r.Prefix, r.Secrets, r.Sync, r.Retry, r.Status, r.Budget))
	}
	want := []string{
		`/g=github /g false ["new-secret" "old-secret" "with,a comma"] false false 202 8s`,
		`/c=ci /c false ["my secret"] false false 202 8s`,
		`/d=generic /d false ["by default"] false false 202 8s`,
		`/s=slack /s false [] true false 200 2.5s`,
		`/m=meta /m false ["app secret"] false false 200 4s`,
		`/p/*=generic /p/ true [] false false 204 1.5s`,
		`/p/=github /p/ false ["new-secret" "old-secret" "with,a comma"] false true 202 8s`,
	}
	for i := range want {
		if i >= len(got) || got[i] != want[i] {
			t.Fatalf("routes are\n%v, want\n%v", got, want)
		}
	}
	if len(routes[4].HandshakeSecrets) != 0 {
		t.Errorf("Meta's handshake would be checked with the app's secret: %v", routes[4].HandshakeSecrets)
	}
	if len(routes[0].HandshakeSecrets) != 3 {
		t.Errorf("a handshake without secrets of its own has %v", routes[0].HandshakeSecrets)
	}
}

func TestEveryProblemIsNamed(t *testing.T) {
	for _, bad := range []string{
		"gh=github", "/a", "/a=nobody", "/c/*/d=github", "/e=slack:X", "/drain=github",
		"/a=github+201", "/a=github+-5s", "/a=github+snyc", "/a=github,/a=slack", "", " , ",
		"/a=github+name=", "/a=github+name=A", "/a=github+name=a.b", "/a=github+name=a/b", "/a=github+name=-a", "/a=github+name=" + strings.Repeat("a", 64),
		"/a=github+name=x,/b=slack+name=x", "/a=github+sync+retry", "/a=github+name",
	} {
		if _, err := Parse(bad, Options{AllowUnverified: true, Secret: from(nil).Secret}); err == nil || !strings.HasPrefix(err.Error(), "WEBHOOK_ROUTES: ") {
			t.Errorf("%q: %v", bad, err)
		}
	}
	_, err := Parse("gh=github,/f=github,/a=nobody,/b=github+1h+x", Options{AllowUnverified: true, Secret: from(nil).Secret})
	if err == nil || strings.Count(err.Error(), "\n") != 2 {
		t.Errorf("want three problems: %v", err)
	}
}

func TestSecretsDoNotPrint(t *testing.T) {
	routes, err := Parse("/g=github,/h/*=generic:X-Sig", Options{Secret: func(string) string { return "hunter2hunter2" }})
	if err != nil || routes[0].Secrets[0] != "hunter2hunter2" {
		t.Fatal(err)
	}
	if text := fmt.Sprintf("%v %+v %#v %s", routes, routes, routes, routes[1]); strings.Contains(text, "hunter2") {
		t.Error("a secret is printed: " + text)
	}
}

// FuzzParse: whatever is written there, it is refused or routes to one sender
// each, by a path that can be asked for.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{"/a=github", "/hooks/*=generic+200+1s+sync,/b=slack", "/a=generic:X-Sig:SECRET", ",,", "/a==github", "/*=generic", "/a=github+name=x+retry+unverified"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		routes, err := Parse(text, Options{Secret: func(string) string { return "a secret" }})
		if err != nil {
			return
		}
		seen := map[string]bool{}
		for _, r := range routes {
			if !strings.HasPrefix(r.Path, "/") || strings.Contains(r.Path, "*") || r.Sender == nil || !names.MatchString(r.Name) || seen[fmt.Sprint(r.Path, r.Prefix)] {
				t.Fatalf("%q: route %v", text, r)
			}
			if r.Budget <= 0 || r.Status != 200 && r.Status != 202 && r.Status != 204 {
				t.Fatalf("%q: route %v, status %d, budget %s", text, r, r.Status, r.Budget)
			}
			seen[fmt.Sprint(r.Path, r.Prefix)] = true
		}
	})
}
