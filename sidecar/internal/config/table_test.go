package config

import (
	"testing"

	"sluice/infra/docs"
	"sluice/sidecar/settings"
)

const operations = "../../../docs/operations.md"

// The tables in docs are made from the code.
// Update them: go test ./internal/config -run Settings -update
func TestSettingsAreDocumented(t *testing.T) {
	r := settings.NewReader(&Config{}, all)
	docs.Check(t, operations, "settings of both", r.Markdown(settings.Shared))
	docs.Check(t, operations, "settings of the sidecar", r.Markdown(own))
}

// Every description is of a variable that is read, and every variable is described
// once.
func TestSettingsAreDescribedOnce(t *testing.T) {
	set(t, map[string]string{"DATABASE_URL": "postgres://h/db", "WEBHOOK_ROUTES": "/x=generic+unverified"})
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
