package config_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/app/internal/config"
	"sluice/sidecar/settings"
)

const url = "postgres://user:hunter2@db/app"

func TestDefaults(t *testing.T) {
	t.Setenv("DATABASE_URL", url)
	t.Setenv("PORT", "") // compose files set variables without a value like this
	t.Setenv("LOG_LEVEL", "")
	c, err := config.Load()
	if err != nil {
		t.Fatal(err)
	}
	if c.Port != 3000 || c.Grace() != 5*time.Minute || c.Termination() != 330*time.Second || c.MaxWorkers != 10 {
		t.Errorf("defaults: %+v", c)
	}
}

func TestEveryProblemAtOnce(t *testing.T) {
	t.Setenv("DATABASE_URL", "postgres://user:hunter2@db:port/app")
	t.Setenv("PORT", "x")
	t.Setenv("MAX_WORKERS", "0")
	t.Setenv("RETENTION", "soon")
	t.Setenv("LOG_FORMAT", "xml")
	_, err := config.Load()
	var problems settings.Problems
	if !errors.As(err, &problems) {
		t.Fatalf("error is %v", err)
	}
	for _, name := range []string{"DATABASE_URL", "PORT", "MAX_WORKERS", "RETENTION", "LOG_FORMAT"} {
		if !slices.ContainsFunc(problems, func(p string) bool { return strings.HasPrefix(p, name) }) {
			t.Errorf("%s is not among %q", name, problems)
		}
	}
	if strings.Contains(err.Error(), "hunter2") {
		t.Error("the password is in the error")
	}
}

func TestRequired(t *testing.T) {
	t.Setenv("DATABASE_URL", "")
	if _, err := config.Load(); err == nil || !strings.Contains(err.Error(), "DATABASE_URL is required") {
		t.Errorf("error is %v", err)
	}
}

func TestRoutes(t *testing.T) {
	t.Setenv("DATABASE_URL", url)
	t.Setenv("ALLOW_UNVERIFIED", "true")
	t.Setenv("WEBHOOK_ROUTES", "/gh=github+200+5s,/cmd=slack+sync,/hooks/*=generic,/hooks/=generic")
	c, err := config.Load()
	if want := "[/gh=github /hooks/*=generic /hooks/=generic]"; err != nil || fmt.Sprint(c.Routes) != want {
		t.Errorf("routes are %v, %v, want %s", c.Routes, err, want)
	}
	// Two routes that the sidecar refuses, too, and two paths to which net/http's
	// mux would give another meaning.
	t.Setenv("WEBHOOK_ROUTES", "/a=nobody,/b=github+snyc,/c*=github,/{d}=github")
	var problems settings.Problems
	if _, err := config.Load(); !errors.As(err, &problems) || len(problems) != 4 {
		t.Errorf("want four problems: %q", problems)
	}
}

func TestSecretsDoNotPrint(t *testing.T) {
	t.Setenv("DATABASE_URL", url)
	t.Setenv("SLUICE_SECRET", "hunter2")
	t.Setenv("GITHUB_WEBHOOK_SECRET", "hunter2hunter2")
	c, err := config.Load()
	if err != nil {
		t.Fatal(err)
	}
	asJSON, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{fmt.Sprint(c), fmt.Sprintf("%+v %#v", c, c), string(asJSON)} {
		if strings.Contains(text, "hunter2") {
			t.Errorf("a secret is in %s", text)
		}
	}
}
