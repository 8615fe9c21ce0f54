package e2e

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"sluice/infra/testkit"
	"sluice/sidecar/senders"
)

// No spelling of /drain passes the public listener: not with any method, not over
// HTTP/2, not as an absolute address, and not where every path is a webhook's.
func TestNoSpellingOfDrainPasses(t *testing.T) {
	t.Parallel()
	spellings := []string{
		"/drain", "/drain/", "/Drain", "//drain", "/./drain", "/x/../drain", "/x/%2e%2e/drain", "/hooks/../drain", "/%2fdrain", "/drain%2f",
		"/drain;a", "/drain%20", "/drain%00", "/%64rain", "/%2564rain", `/\drain`, "/x/..;/drain", "/a%2Fb/../drain", "/drain.json", "/drain?x=1", "/drain#x",
	}
	for _, routes := range []string{"/hooks/*=generic", "/*=generic"} {
		t.Run(routes, func(t *testing.T) {
			t.Parallel()
			db, a := newDatabase(t), runningApp(t)
			var reached atomic.Int32
			a.serves(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
			s := passing(t, db, a, env{"WEBHOOK_ROUTES": routes})
			h2c := overH2C(t)
			for _, target := range spellings {
				for _, method := range []string{"GET", "POST", "PUT", "OPTIONS"} {
					for _, form := range []string{target, "http://h" + target} {
						if got := s.raw(fmt.Sprintf("%s %s HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}", method, form)); got.status != 404 && got.status != 400 {
							t.Errorf("%s %s: %d", method, form, got.status)
						}
					}
					path, query, _ := strings.Cut(target, "?")
					resp, err := h2c.Do(&http.Request{Method: method, URL: &url.URL{Scheme: "http", Host: s.addr, Opaque: "//" + s.addr + path, RawQuery: query}, Header: http.Header{}})
					if err != nil {
						t.Fatalf("%s %s over HTTP/2: %v", method, target, err)
					}
					resp.Body.Close()
					if resp.StatusCode != 404 && resp.StatusCode != 400 {
						t.Errorf("%s %s over HTTP/2: %d", method, target, resp.StatusCode)
					}
				}
			}
			if n := int(a.drains.Load()+reached.Load()) + len(a.deliveries()); n != 0 {
				t.Errorf("%d of them reached the app", n)
			}
			if got := s.get("/drainage"); routes == "/hooks/*=generic" && (got.status != 200 || reached.Load() != 1) {
				t.Errorf("another path: %d", got.status)
			}
			s.mustPass("/hooks/drain", "{}")
		})
	}
}

// The sidecar's own POST /drain is signed when it has a secret to sign with.
func TestDrainIsSigned(t *testing.T) {
	t.Parallel()
	for _, secret := range []string{"between", ""} {
		db, a := newDatabase(t), runningApp(t)
		asked := make(chan http.Header, 1)
		a.drained = func(r *http.Request) { asked <- r.Header.Clone() }
		s := passing(t, db, a, env{"SLUICE_SECRET": secret})
		s.Signal(syscall.SIGTERM)
		select {
		case h := <-asked:
			if err := senders.VerifyDrain(h, []string{"between"}, time.Now()); (err == nil) != (secret != "") {
				t.Errorf("secret %q: %v (%v)", secret, err, h)
			}
		case <-time.After(testkit.Patience):
			t.Fatal("the app was not told to drain")
		}
		a.stop()
		if code := s.ExitCode(); code != 0 {
			t.Errorf("exit code %d", code)
		}
	}
}
