package ingress

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice/sidecar/routes"
)

// The first is told at once, those that follow once a minute with their number,
// and none is told twice or left out.
func TestReminder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m reminder
		var mu sync.Mutex
		var told []string
		began := time.Now()
		note := func() {
			m.note(func(n int) {
				mu.Lock()
				told = append(told, fmt.Sprint(time.Since(began), ":", n))
				mu.Unlock()
			})
		}
		note()
		<-time.After(time.Second)
		for range 1000 {
			note()
		}
		<-time.After(80 * time.Second)
		note()
		<-time.After(time.Hour)
		note()
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		if want := []string{"0s:1", "1m0s:1000", "2m0s:1", "1h1m21s:1"}; !slices.Equal(told, want) {
			t.Errorf("told %v, want %v", told, want)
		}
	})
}

func TestReasonsHaveNames(t *testing.T) {
	seen := map[string]bool{}
	for why, name := range reasonNames {
		if name == "" || seen[name] {
			t.Errorf("reason %d is called %q", why, name)
		}
		seen[name] = true
	}
}

// FuzzRouteFor: a setting that is offered is what the present one is and that
// one route.
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
		parsed, err := routes.Parse(strings.TrimPrefix(setting, "WEBHOOK_ROUTES="), func(string) string { return "" })
		if err != nil || len(parsed) != 2 || parsed[0].Path != "/hooks/" || parsed[1].Path != path || parsed[1].Source != "github" || parsed[1].Prefix {
			t.Errorf("%q: %q is %v (%v)", path, setting, parsed, err)
		}
	})
}
