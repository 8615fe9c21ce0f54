package routes

import (
	"strings"
	"testing"
)

// A piece of a secret that has a comma in it is no key: anybody could sign with v1.
func TestShortSecretsAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		routes string
		env    map[string]string
		want   []string
	}{
		"Supabase's": {"/a=standard", map[string]string{"STANDARD_WEBHOOK_SECRET": "v1,whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}, []string{"STANDARD_WEBHOOK_SECRET: part 1 of 2", "STANDARD_WEBHOOK_SECRET_2"}},
		"short":      {"/a=github,/b=github", map[string]string{"GITHUB_WEBHOOK_SECRET": "hunter2"}, []string{"GITHUB_WEBHOOK_SECRET: the secret", "8 bytes", "GITHUB_WEBHOOK_SECRET_2"}},
		"second":     {"/a=github", map[string]string{"GITHUB_WEBHOOK_SECRET": "long enough", "GITHUB_WEBHOOK_SECRET_2": "hunter2"}, []string{"GITHUB_WEBHOOK_SECRET_2: "}},
		"handshake":  {"/a=meta", map[string]string{"META_APP_SECRET": "long enough", "META_VERIFY_TOKEN": "hunter2"}, []string{"META_VERIFY_TOKEN: "}},
	} {
		for _, o := range []Options{{}, {AllowUnverified: true}, {Close: true}} {
			o.Secret = from(c.env).Secret
			_, err := Parse(c.routes, o)
			if err == nil || strings.Count(err.Error(), "\n") != 0 || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%s: %v", name, err)
				continue
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%s: %q does not say %q", name, err, want)
				}
			}
		}
	}
	routes, err := Parse("/a=standard", from(map[string]string{"STANDARD_WEBHOOK_SECRET_2": "v1,whsec_MfKQ9r8G"}))
	if err != nil || len(routes[0].Secrets) != 1 || routes[0].Secrets[0] != "v1,whsec_MfKQ9r8G" {
		t.Errorf("a secret with a comma: %v", err)
	}
}

// Nobody opens a route by forgetting its secret.
func TestRouteWithoutSecret(t *testing.T) {
	for _, c := range []struct {
		routes             string
		o                  Options
		refused            string
		closed, unverified bool
	}{
		{"/a=github", Options{}, "GITHUB_WEBHOOK_SECRET", true, false},
		{"/a=generic", Options{}, "generic:HEADER", true, false},
		{"/a=generic:X-Sig:MINE", Options{}, "MINE", true, false},
		{"/a=github+unverified", Options{}, "", false, true},
		{"/a=generic+unverified", Options{}, "", false, true},
		{"/a=github", Options{AllowUnverified: true}, "", false, true},
		{"/a=github", Options{Close: true}, "", true, false},
		{"/a=github", Options{Close: true, AllowUnverified: true}, "", false, true},
		{"/a=stripe", Options{AllowUnverified: true}, "", false, false},
		{"/a=stripe+unverified", Options{}, "", false, true},
	} {
		c.o.Secret = from(map[string]string{"STRIPE_WEBHOOK_SECRET": "whsec_stripe"}).Secret
		routes, err := Parse(c.routes, c.o)
		if c.refused != "" {
			if err == nil || !strings.Contains(err.Error(), c.refused) || !strings.Contains(err.Error(), "+unverified") || !strings.Contains(err.Error(), "ALLOW_UNVERIFIED") {
				t.Errorf("%s, %+v: %v", c.routes, c.o, err)
			}
			continue
		}
		if err != nil || routes[0].Closed() != c.closed || routes[0].Unverified != c.unverified {
			t.Errorf("%s: closed %v, unverified %v, %v", c.routes, routes[0].Closed(), routes[0].Unverified, err)
		}
	}
}
