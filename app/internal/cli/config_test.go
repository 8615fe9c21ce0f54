package cli_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sluice/app/internal/cli"
	"sluice/sidecar/settings"
)

func TestConfigCommand(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte("hunter2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("DATABASE_URL", "postgres://u:hunter2@h/db")
	t.Setenv("GITHUB_TOKEN", "") // CI systems set one
	t.Setenv("GITHUB_TOKEN_FILE", file)
	t.Setenv("LOG_FORMAT", "tint") // the sidecar takes the same value
	var out, errs bytes.Buffer
	if code := cli.Run(t.Context(), []string{"config", "--output", "json"}, &out, &errs); code != 0 {
		t.Fatalf("exit code %d: %s", code, errs.String())
	}
	var values []settings.Value
	if err := json.Unmarshal(out.Bytes(), &values); err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, v := range values {
		switch v.Name {
		case "GITHUB_TOKEN":
			found++
			if v.Value != "***" || v.From != settings.File || v.File != file {
				t.Errorf("%+v", v)
			}
		case "LOG_FORMAT":
			found++
			if v.Value != "tint" || v.From != settings.Environment {
				t.Errorf("%+v", v)
			}
		}
	}
	if found != 2 || strings.Contains(out.String(), "hunter2") {
		t.Errorf("the settings are %s", out.String())
	}
	t.Setenv("RETENTION", "1h")
	t.Setenv("PORT", "x")
	out.Reset()
	code := cli.Run(t.Context(), []string{"config"}, &out, &errs)
	if code != 2 || !strings.Contains(out.String(), "MAX_WORKERS") || !strings.Contains(errs.String(), "RETENTION must be a duration") || !strings.Contains(errs.String(), "PORT must be") {
		t.Errorf("exit code %d\n%s%s", code, out.String(), errs.String())
	}
	out.Reset()
	if code := cli.Run(t.Context(), []string{"config", "--describe"}, &out, &errs); code != 0 || !strings.Contains(out.String(), "| `MAX_WORKERS` |") {
		t.Errorf("--describe: exit code %d\n%s", code, out.String())
	}
}
