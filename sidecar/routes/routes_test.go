package routes

import (
	"fmt"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	env := map[string]string{"GITHUB_WEBHOOK_SECRET": " new , old,", "MY_SECRET": "mine", "META_APP_SECRET": "app", "GENERIC_WEBHOOK_SECRET": "default"}
	routes, err := Parse("/g=github, /c=generic:X-Sig:MY_SECRET ,,/d=generic:X-Sig,/s=slack+sync,/m=meta,/p/*=generic+204+1500ms,/p/=github", func(name string) string { return env[name] })
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range routes {
		got = append(got, fmt.Sprintln(r, r.Path, r.Prefix, r.Secrets, r.Sync, r.Status, r.Budget))
	}
	want := []string{
		"/g=github /g false [new old] false 202 8s\n",
		"/c=generic /c false [mine] false 202 8s\n",
		"/d=generic /d false [default] false 202 8s\n",
		"/s=slack /s false [] true 200 2.5s\n",
		"/m=meta /m false [app] false 200 4s\n",
		"/p/*=generic /p/ true [] false 204 1.5s\n",
		"/p/=github /p/ false [new old] false 202 8s\n",
	}
	for i := range want {
		if i >= len(got) || got[i] != want[i] {
			t.Fatalf("routes are\n%v, want\n%v", got, want)
		}
	}
	if len(routes[4].HandshakeSecrets) != 0 {
		t.Errorf("Meta's handshake would be checked with the app's secret: %v", routes[4].HandshakeSecrets)
	}
	if len(routes[0].HandshakeSecrets) != 2 {
		t.Errorf("a handshake without secrets of its own has %v", routes[0].HandshakeSecrets)
	}
}

func TestEveryProblemIsNamed(t *testing.T) {
	for _, bad := range []string{
		"gh=github", "/a", "/a=nobody", "/c/*/d=github", "/e=slack:X", "/drain=github",
		"/a=github+201", "/a=github+-5s", "/a=github+snyc", "/a=github,/a=slack", "", " , ",
	} {
		if _, err := Parse(bad, func(string) string { return "" }); err == nil || !strings.HasPrefix(err.Error(), "WEBHOOK_ROUTES: ") {
			t.Errorf("%q: %v", bad, err)
		}
	}
	_, err := Parse("gh=github,/f=github,/a=nobody,/b=github+1h+x", func(string) string { return "" })
	if err == nil || strings.Count(err.Error(), "\n") != 2 {
		t.Errorf("want three problems: %v", err)
	}
}

func TestSecretsDoNotPrint(t *testing.T) {
	routes, err := Parse("/g=github,/h/*=generic:X-Sig", func(string) string { return "hunter2" })
	if err != nil || routes[0].Secrets[0] != "hunter2" {
		t.Fatal(err)
	}
	if text := fmt.Sprintf("%v %+v %#v %s", routes, routes, routes, routes[1]); strings.Contains(text, "hunter2") {
		t.Error("a secret is printed: " + text)
	}
}

// FuzzParse: whatever is written there, it is refused or routes to one sender
// each, by a path that can be asked for.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{"/a=github", "/hooks/*=generic+200+1s+sync,/b=slack", "/a=generic:X-Sig:SECRET", ",,", "/a==github", "/*=generic"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		routes, err := Parse(text, func(string) string { return "s" })
		if err != nil {
			return
		}
		seen := map[string]bool{}
		for _, r := range routes {
			if !strings.HasPrefix(r.Path, "/") || strings.Contains(r.Path, "*") || r.Sender == nil || r.Source == "" || seen[fmt.Sprint(r.Path, r.Prefix)] {
				t.Fatalf("%q: route %v", text, r)
			}
			if r.Budget <= 0 || r.Status != 200 && r.Status != 202 && r.Status != 204 {
				t.Fatalf("%q: route %v, status %d, budget %s", text, r, r.Status, r.Budget)
			}
			seen[fmt.Sprint(r.Path, r.Prefix)] = true
		}
	})
}
