package control

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// replica is a Reporter with answers set by the test.
type replica struct {
	status         Status
	started, ready error
	overridden     bool
}

func (r *replica) Status() Status { return r.status }
func (r *replica) Started() error { return r.started }
func (r *replica) Ready() error   { return r.ready }

func (r *replica) OverrideBreaker() { r.overridden = true }
func (r *replica) Drain()           {}

func ask(h http.Handler, method, path, authorization string) *httptest.ResponseRecorder {
	w, r := httptest.NewRecorder(), httptest.NewRequest(method, path, nil)
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	h.ServeHTTP(w, r)
	return w
}

func TestProbes(t *testing.T) {
	r := &replica{started: errors.New("not yet"), ready: errors.New("nothing can be held")}
	h := Probes(r, prometheus.NewRegistry())
	for path, want := range map[string]string{"/startupz": "503 not yet", "/readyz": "503 nothing can be held", "/livez": "200 ok"} {
		if got := ask(h, "GET", path, ""); http.StatusText(got.Code) == "" || got.Body.String() != want[4:]+"\n" || got.Code/100 != int(want[0]-'0') {
			t.Errorf("%s: %d %q, want %s", path, got.Code, got.Body, want)
		}
	}
	r.started, r.ready = nil, nil
	for _, path := range []string{"/startupz", "/readyz", "/livez", "/metrics"} {
		if got := ask(h, "GET", path, ""); got.Code != 200 {
			t.Errorf("%s: %d", path, got.Code)
		}
	}
	for _, path := range []string{"/", "/v1/status", "/readyz/x"} {
		if got := ask(h, "GET", path, ""); got.Code != 404 {
			t.Errorf("%s: %d, want 404", path, got.Code)
		}
	}
	if got := ask(h, "POST", "/readyz", ""); got.Code != 405 {
		t.Errorf("POST: %d, want 405", got.Code)
	}
}

func TestToken(t *testing.T) {
	r := &replica{status: Status{State: "passing", Held: 7, Refused: []Refusal{{"/a*", "github", "signature_wrong", 3}}, Unrouted: []Unrouted{{"/b", "slack", "", 1}}}}
	open, shut := API(r, ""), API(r, "right")
	for _, c := range []struct {
		h             http.Handler
		authorization string
		want          int
	}{
		{open, "", 200}, {open, "Bearer whatever", 200}, {shut, "Bearer right", 200}, {shut, "", 401}, {shut, "Bearer ", 401},
		{shut, "Bearer wrong", 401}, {shut, "Bearer right ", 401}, {shut, "Bearer righ", 401}, {shut, "Basic right", 401}, {shut, "bearer wrong", 401},
	} {
		got := ask(c.h, "GET", "/v1/status", c.authorization)
		if got.Code != c.want {
			t.Errorf("%q: %d, want %d", c.authorization, got.Code, c.want)
		}
		var s Status
		if c.want == 200 && (json.Unmarshal(got.Body.Bytes(), &s) != nil || !reflect.DeepEqual(s, r.status)) {
			t.Errorf("status is %s", got.Body)
		}
		if c.want == 401 && (strings.Contains(got.Body.String(), "right") || strings.Contains(got.Body.String(), "passing")) {
			t.Errorf("the refusal says %q", got.Body)
		}
	}
}
