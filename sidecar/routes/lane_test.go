package routes

import (
	"net/http"
	"testing"
)

func TestLaneKeys(t *testing.T) {
	for _, c := range []struct {
		key, header, body, want string
	}{
		{"repository.full_name", "", `{"repository":{"full_name":"a/b"}}`, "a/b"},
		{"repository.full_name", "", `not JSON`, ""},
		{"header:X-Shop", "shop", "", "shop"},
		{"header:X-Shop", "", "", ""},
		{"form:AccountSid", "", "A=1&AccountSid=AC1%20", "AC1 "},
		{"-", "", `{"-":"x"}`, ""},
	} {
		key, err := ParseLaneKey(c.key)
		if err != nil {
			t.Fatal(err)
		}
		if got := key.Find(http.Header{"X-Shop": {c.header}}, []byte(c.body)); got != c.want {
			t.Errorf("%s finds %q, want %q", c.key, got, c.want)
		}
	}
	for _, bad := range []string{"", "header:", "form:"} {
		if _, err := ParseLaneKey(bad); err == nil {
			t.Errorf("%q is a key", bad)
		}
	}
}

// The first place that has a key counts, and without configuration each route has
// its sender's own.
func TestNaturalLanes(t *testing.T) {
	routes, err := Parse("/gh=github,/ce=cloudevents,/g=generic+name=x", Options{AllowUnverified: true, Secret: from(nil).Secret})
	if err != nil {
		t.Fatal(err)
	}
	body := []byte(`{"repository":{"full_name":"a/b"},"source":"s"}`)
	if got := routes[0].Lane.Find(http.Header{}, body); got != "a/b" {
		t.Errorf("GitHub's key is %q", got)
	}
	if got := routes[1].Lane.Find(http.Header{}, body); got != "s" {
		t.Errorf("a structured CloudEvent's key is %q", got)
	}
	if got := routes[1].Lane.Find(http.Header{"Ce-Source": {"binary"}}, body); got != "binary" {
		t.Errorf("a binary CloudEvent's key is %q", got)
	}
	if len(routes[2].Lane) != 0 {
		t.Errorf("generic has the key %v", routes[2].Lane)
	}
}
