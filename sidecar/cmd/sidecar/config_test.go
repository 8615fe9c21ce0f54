package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sluice/sidecar/settings"
)

func TestConfigCommand(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte("hunter2-hunter3\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	env := []string{"DATABASE_URL=postgres://u:hunter2-hunter3@h/db", "SLUICE_SECRET_FILE=" + file, "GITHUB_WEBHOOK_SECRET=hunter2-hunter3", "ORDER=", "REPLAY_CONCURRENCY=3"}
	code, table, errs := sidecar(t, env, "config")
	if code != 0 || !strings.Contains(table, "REPLAY_CONCURRENCY") || strings.Contains(table, "hunter2-hunter3") {
		t.Fatalf("exit code %d\n%s%s", code, table, errs)
	}
	code, out, _ := sidecar(t, env, "config", "--output", "json")
	var values []settings.Value
	if err := json.Unmarshal([]byte(out), &values); code != 0 || err != nil || strings.Contains(out, "hunter2-hunter3") {
		t.Fatalf("exit code %d, %v\n%s", code, err, out)
	}
	want := map[string]settings.Value{
		"DATABASE_URL":          {Value: "***", From: settings.Environment, Secret: true},
		"SLUICE_SECRET":         {Value: "***", From: settings.File, File: file, Secret: true},
		"GITHUB_WEBHOOK_SECRET": {Value: "***", From: settings.Environment, Secret: true},
		"STRIPE_WEBHOOK_SECRET": {From: settings.Default, Secret: true},
		"ORDER":                 {Value: "lane", From: settings.Default},
		"REPLAY_CONCURRENCY":    {Value: "3", From: settings.Environment},
	}
	for _, v := range values {
		if w, ok := want[v.Name]; ok {
			w.Name = v.Name
			if v != w {
				t.Errorf("%+v, want %+v", v, w)
			}
			delete(want, v.Name)
		}
	}
	if len(want) > 0 {
		t.Errorf("missing: %v", want)
	}
	if code, out, _ := sidecar(t, nil, "config", "--describe"); code != 0 || !strings.Contains(out, "| `HOLD_TIMEOUT` |") {
		t.Errorf("--describe: exit code %d\n%s", code, out)
	}
}

// One wrong setting does not hide the others.
func TestConfigCommandOnWrongSettings(t *testing.T) {
	code, out, errs := sidecar(t, []string{"ORDER=foo", "LOG_FORMAT=text"}, "config")
	if code != exitUsage || !strings.Contains(out, "HOLD_TIMEOUT") ||
		!strings.Contains(errs, `ORDER must be lane, strict or none; it is "foo" (leave it unset for lane)`) ||
		!strings.Contains(errs, "DATABASE_URL is required") || strings.Contains(errs, "LOG_FORMAT") {
		t.Errorf("exit code %d\n%s%s", code, out, errs)
	}
	if code, _, errs := sidecar(t, nil, "config", "--output", "yaml"); code != exitUsage || !strings.Contains(errs, "table or json") {
		t.Errorf("--output yaml: exit code %d: %s", code, errs)
	}
}
