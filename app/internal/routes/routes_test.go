package routes_test

import (
	"fmt"
	"strings"
	"testing"

	"sluice/app/internal/routes"
)

func TestParse(t *testing.T) {
	env := func(name string) string {
		return map[string]string{"GITHUB_WEBHOOK_SECRET": "a, b", "CI_SECRET": "c"}[name]
	}
	got, err := routes.Parse("/gh=github+200+5s, /cmd=slack+sync ,/hooks/*=generic,/ci=generic:X-Sig:CI_SECRET", env)
	if err != nil {
		t.Fatal(err)
	}
	var text []string
	for _, r := range got {
		text = append(text, fmt.Sprint(r.Path, r.Sender.Traits().Name, r.Secrets))
	}
	if want := "/ghgithub[a b] /hooks/generic[] /cigeneric[c]"; strings.Join(text, " ") != want {
		t.Errorf("got %q, want %q", strings.Join(text, " "), want)
	}
	_, err = routes.Parse("gh=github,/a=nobody,/b*=github,/c/*/d=github,/e=slack:X,/f=github,/f=github", env)
	if err == nil || strings.Count(err.Error(), "\n") != 5 {
		t.Errorf("problems: %v", err)
	}
}
