package config

import (
	"os"
	"testing"

	"sluice/infra/docs"
	"sluice/sidecar/settings"
)

const pages = "../../../docs/"

// The tables in docs are generated from the code.
// Update them: go test ./internal/config -run Settings -update
func TestSettingsAreDocumented(t *testing.T) {
	r := settings.NewReader(&Config{}, all)
	docs.Check(t, pages+"operations.md", "settings of both", r.Markdown(settings.Shared))
	docs.Check(t, pages+"operations.md", "settings of the app", r.Markdown(own))
	docs.Check(t, pages+"app.md", "every setting of the app", r.Markdown(all))
}

// Every setting that is read is described exactly once, and no other.
func TestSettingsAreDescribedOnce(t *testing.T) {
	for _, s := range all {
		t.Setenv(s.Name, "") // restores the value after the test
		if err := os.Unsetenv(s.Name); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("DATABASE_URL", "postgres://h/db")
	t.Setenv("WEBHOOK_ROUTES", "/x/*=generic+unverified")
	values, err := Effective()
	if err != nil {
		t.Fatal(err)
	}
	times := map[string]int{}
	for _, s := range all {
		times[s.Name]++
	}
	for _, v := range values {
		if times[v.Name]--; times[v.Name] != 0 {
			t.Errorf("%s is not described once", v.Name)
		}
		delete(times, v.Name)
	}
	if len(times) > 0 {
		t.Errorf("described and not read: %v", times)
	}
}
