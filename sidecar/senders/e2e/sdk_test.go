package e2e

import (
	"bytes"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestUnmodifiedSDKs(t *testing.T) {
	binary := programs(t)
	for _, v := range vendors {
		t.Run(strings.TrimSuffix(v.script, ".mjs"), func(t *testing.T) {
			s := newStand(t, binary, v)
			s.startApp()
			// Signing afresh takes the first secret, which is the app's.
			s.startSidecar(v.variable+"="+v.secret+",an older secret", "RESIGN=true")
			s.passing()
			s.live()
			s.forged()
			s.held()
			s.hourOld()
			s.nothingElse()
			if v.ages {
				s.hourOldWithoutResign()
			}
		})
	}
	t.Run("what was not verified is never signed", func(t *testing.T) { unverified(t, binary) })
	t.Run("slack's questions", func(t *testing.T) { slackQuestions(t, binary) })
}

// live: the app is there, its SDK's answer goes back.
func (s *stand) live() {
	s.t.Helper()
	if a := s.post(s.vendor.sign(s.vendor.secret, "live", time.Now())); a.status != 200 || a.held {
		s.t.Fatalf("live: %+v", a)
	}
	s.acceptedEventually("live")
}

// forged requests get 401 and go nowhere, whether the app is there or not.
func (s *stand) forged() {
	s.t.Helper()
	wrong := s.vendor.sign("wrong secret", "forged", time.Now())
	changed := s.vendor.sign(s.vendor.secret, "forged", time.Now())
	changed.body = bytes.Replace(changed.body, []byte("é"), []byte("e"), 1)
	naked := s.vendor.sign(s.vendor.secret, "forged", time.Now())
	naked.header = http.Header{"Content-Type": naked.header["Content-Type"]}
	list := map[string]delivery{"wrong secret": wrong, "changed body": changed, "no signature": naked}
	if s.vendor.ages {
		list["stale"] = s.vendor.sign(s.vendor.secret, "forged", time.Now().Add(-time.Hour))
	}
	for what, d := range list {
		a := s.post(d)
		if a.status != 401 || strings.Count(strings.TrimSpace(a.body), "\n") != 0 {
			s.t.Errorf("%s: %+v, want 401 and a line", what, a)
		}
	}
}

// held: the app is away, the webhook comes to it by replay, once.
func (s *stand) held() {
	s.t.Helper()
	s.app.Kill()
	if a := s.post(s.vendor.sign(s.vendor.secret, "held", time.Now())); a.status != s.vendor.holds || !a.held {
		s.t.Fatalf("held: %+v\n%s", a, s.sidecar.Output.String())
	}
	s.forged()
	// The sender repeats what it thinks is lost, signed at another time.
	again := s.vendor.sign(s.vendor.secret, "held", time.Now().Add(-time.Second))
	again.header.Set("X-Slack-Retry-Num", "1")
	if a := s.post(again); a.status != s.vendor.holds || !a.held {
		s.t.Fatalf("repeated: %+v", a)
	}
	s.waiting()
	s.startApp()
	s.acceptedEventually("held")
	s.passing()
}

// hourOld: what the app gets has been held for an hour.
func (s *stand) hourOld() {
	s.t.Helper()
	s.holdForAnHour("hour-old")
	s.startApp()
	s.acceptedEventually("hour-old")
	s.passing()
}

// holdForAnHour stops the app, holds a webhook, and moves it an hour back: the
// row then is what an hour ago would have left, times and signature alike.
func (s *stand) holdForAnHour(id string) {
	s.t.Helper()
	s.app.Kill()
	now := time.Now()
	signed := s.vendor.sign(s.vendor.secret, id, now)
	if a := s.post(signed); !a.held {
		s.t.Fatalf("%s: %+v", id, a)
	}
	s.waiting()
	old := s.vendor.sign(s.vendor.secret, id, now.Add(-time.Hour))
	var rowID int64
	var head []byte
	const find = `SELECT id, headers FROM webhook_queue WHERE status = 'pending'`
	if err := s.connection.QueryRow(s.t.Context(), find).Scan(&rowID, &head); err != nil {
		s.t.Fatal(err)
	}
	for name := range signed.header {
		from, to := signed.header.Get(name), old.header.Get(name)
		if from != to && !bytes.Contains(head, []byte(from)) {
			s.t.Fatalf("the row has no %s: %q", name, head)
		}
		head = bytes.ReplaceAll(head, []byte(from), []byte(to))
	}
	const move = `UPDATE webhook_queue SET headers = $2, received_at = received_at - interval '1 hour', queued_at = queued_at - interval '1 hour' WHERE id = $1`
	if _, err := s.connection.Exec(s.t.Context(), move, rowID, head); err != nil {
		s.t.Fatal(err)
	}
}

// nothingElse: every webhook was accepted once, and the app has not even seen
// another one.
func (s *stand) nothingElse() {
	s.t.Helper()
	seen, replayed, accepted := s.entries()
	for _, id := range s.expected {
		if accepted[id] != 1 {
			s.t.Errorf("%s was accepted %d times", id, accepted[id])
		}
	}
	if seen != len(s.expected) || len(accepted) != len(s.expected) || replayed != 2 {
		s.t.Errorf("seen %d, replayed %d, accepted %v; want %d, 2 and %v\n%s", seen, replayed, accepted, len(s.expected), s.expected, s.read())
	}
}

// hourOldWithoutResign is the control: the SDK turns down what it takes when it
// is signed afresh, so hourOld proves something.
func (s *stand) hourOldWithoutResign() {
	s.t.Helper()
	s.app.Kill() // or the sidecar would wait for it to drain
	s.sidecar.Signal(syscall.SIGTERM)
	s.sidecar.ExitCode()
	s.startSidecar(s.vendor.variable+"="+s.vendor.secret, "STARTUP_GATE=buffer")
	s.holdForAnHour("too-old")
	s.startApp()
	s.eventually("the SDK turns an old signature down", func() bool { return s.rows("failed") == 1 })
	if _, _, accepted := s.entries(); accepted["too-old"] != 0 {
		s.t.Error("the SDK accepts a signature that is an hour old")
	}
}

// unverified: what was held while no secret was known is delivered as it came,
// also by a sidecar that knows the secret and signs afresh.
func unverified(t *testing.T, binary string) {
	s := newStand(t, binary, vendors[0])
	s.startSidecar("STARTUP_GATE=buffer", "ALLOW_UNVERIFIED=true")
	if a := s.post(s.vendor.sign("wrong secret", "forged", time.Now())); !a.held {
		t.Fatalf("%+v", a)
	}
	s.sidecar.Signal(syscall.SIGTERM)
	s.sidecar.ExitCode()
	s.startSidecar("STARTUP_GATE=buffer", "RESIGN=true", s.vendor.variable+"="+s.vendor.secret)
	s.startApp()
	s.eventually("the SDK turns the forgery down", func() bool { return s.rows("failed") == 1 })
	if _, _, accepted := s.entries(); len(accepted) != 0 {
		t.Errorf("accepted %v", accepted)
	}
}

// slackQuestions are requests whose answer matters: the app's while it is
// there, the sidecar's honest one while it is not; they are never held.
func slackQuestions(t *testing.T, binary string) {
	s := newStand(t, binary, vendors[0])
	challenge := func() delivery {
		return signSlack(s.vendor.secret, "application/json", `{"type":"url_verification","challenge":"3eZbrw1aBm2r"}`, time.Now())
	}
	s.startApp()
	s.startSidecar(s.vendor.variable + "=" + s.vendor.secret)
	s.passing()
	if a := s.post(signSlackCommand(s.vendor.secret, "asked", time.Now())); a.status != 200 || !strings.Contains(a.body, "deployed") {
		t.Errorf("command: %+v", a)
	}
	if a := s.post(challenge()); a.status != 200 || !strings.Contains(a.body, "3eZbrw1aBm2r") {
		t.Errorf("challenge: %+v", a)
	}
	s.app.Kill()
	if a := s.post(signSlackCommand(s.vendor.secret, "asked-in-vain", time.Now())); a.status != 200 || !strings.Contains(a.body, "ephemeral") {
		t.Errorf("command, app away: %+v", a)
	}
	if a := s.post(signSlackCommand("wrong secret", "forged", time.Now())); a.status != 401 {
		t.Errorf("forged command, app away: %+v", a)
	}
	if a := s.post(challenge()); a.status != 200 || a.body != "3eZbrw1aBm2r" {
		t.Errorf("challenge, app away: %+v", a)
	}
	if n := s.rows("pending"); n != 0 {
		t.Errorf("%d questions were held", n)
	}
}
