package senders

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"sluice/infra/testkit"
)

// vector is a request that a vendor's own library has signed or accepted; see
// testdata/vectors/make.mjs.
type vector struct {
	Name, Origin, Sender, Secret string
	Now                          int64
	Method, URL, Body            string
	Headers                      map[string]string
	Signature                    string // the field that carries it
	Timestamp                    string // the field that carries its time, "" when it has none
	DeliveryID                   string `json:"delivery_id"`
	Event                        string
	Sync, Retry                  bool
}

func vectors(t testing.TB) []vector {
	t.Helper()
	return readVectors(t, "testdata/vectors/vectors.json", 30)
}

func readVectors(t testing.TB, path string, atLeast int) []vector {
	t.Helper()
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var list []vector
	if err := json.Unmarshal(file, &list); err != nil {
		t.Fatal(err)
	}
	if len(list) < atLeast {
		t.Fatalf("only %d vectors", len(list))
	}
	return list
}

func (v vector) now() time.Time { return time.Unix(v.Now, 0) }

func (v vector) request() Request {
	h := http.Header{}
	for field, value := range v.Headers {
		h.Set(field, value)
	}
	return Request{Method: v.Method, URL: v.URL, Header: h, Body: []byte(v.Body)}
}

func (v vector) sender(t testing.TB) Sender {
	t.Helper()
	return known(t, v.Sender)
}

func known(t testing.TB, name string) Sender {
	t.Helper()
	s, err := Lookup(name)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// token is true for a secret that is sent as it is: it covers no body.
func (v vector) token() bool {
	return v.Signature == "Authorization" || v.Signature == gitlabToken
}

// other is a secret of the same form that signed nothing.
func (v vector) other() string {
	if kind, _, ok := strings.Cut(v.Secret, "_"); ok {
		return kind + "_b3RoZXIgb3RoZXIgb3RoZXIgb3RoZXIgb3RoZXIgb3Q="
	}
	return strings.Repeat("0f", 32)
}

func TestVectors(t *testing.T) {
	for _, v := range vectors(t) {
		t.Run(v.Name, func(t *testing.T) {
			s := v.sender(t)
			for _, secrets := range [][]string{{v.Secret}, {v.other(), v.Secret}, {v.Secret, v.other()}, {"", v.Secret}} {
				if err := s.Verify(v.request(), secrets, v.now()); err != nil {
					t.Errorf("%d secrets: %v (%s)", len(secrets), err, v.Origin)
				}
			}
			want := Identity{DeliveryID: v.DeliveryID, Event: v.Event, Sync: v.Sync, Retry: v.Retry}
			if got := s.Identify(v.request()); got != want {
				t.Errorf("identity %+v, want %+v", got, want)
			}
		})
	}
}

func TestVectorsRejected(t *testing.T) {
	right := func(v vector) []string { return []string{v.Secret} }
	tests := []struct {
		name    string
		skip    func(v vector) bool
		change  func(v vector, r *Request)
		secrets func(v vector) []string
		later   time.Duration
		want    error
	}{
		{name: "rotated away", secrets: func(v vector) []string { return []string{v.other()} }, want: ErrSignature},
		{name: "empty secret", secrets: func(vector) []string { return []string{""} }},
		{name: "no secret", secrets: func(vector) []string { return nil }},
		{name: "missing", change: func(v vector, r *Request) { set(r, v.Signature, "") }, want: ErrUnsigned},
		{name: "truncated", change: func(v vector, r *Request) {
			set(r, v.Signature, r.Header.Get(v.Signature)[:len(r.Header.Get(v.Signature))/2])
		}, want: ErrSignature, skip: func(v vector) bool { return v.Signature == "Authorization" }},
		{name: "signature twice", change: func(v vector, r *Request) { repeat(r, v.Signature) }, want: ErrSignature},
		{name: "time twice", change: func(v vector, r *Request) { repeat(r, v.Timestamp) }, want: ErrSignature, skip: undated},
		{name: "junk", change: func(v vector, r *Request) { set(r, v.Signature, "\x00,=v1,v0=sha256=") }, want: ErrSignature},
		{
			name: "another's", change: func(v vector, r *Request) {
				set(r, v.Signature, strings.NewReplacer("a", "b", "b", "a", "1", "2", "2", "1").Replace(r.Header.Get(v.Signature)))
			}, want: ErrSignature,
			skip: func(v vector) bool { return v.Sender == "stripe" }, // would change the time as well
		},
		{
			name: "body added to", change: func(_ vector, r *Request) { r.Body = append(r.Body, ' ') }, want: ErrSignature,
			skip: vector.token,
		},
		{
			name: "body gone", change: func(_ vector, r *Request) { r.Body = nil }, want: ErrSignature,
			skip: vector.token,
		},
		{name: "stale", later: tolerance + time.Second, want: ErrStale, skip: undated},
		{name: "future", later: -tolerance - time.Second, want: ErrStale, skip: undated},
		{name: "time missing", change: func(v vector, r *Request) { set(r, v.Timestamp, "") }, want: ErrUnsigned, skip: undated},
		{
			name: "time unreadable", change: func(v vector, r *Request) { set(r, v.Timestamp, "9999999999999") }, want: ErrSignature,
			skip: undated,
		},
		{
			name: "time moved", change: func(v vector, r *Request) { set(r, v.Timestamp, r.Header.Get(v.Timestamp)[:9]+"1") }, want: ErrSignature,
			skip: func(v vector) bool { return undated(v) || v.Timestamp == v.Signature },
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, v := range vectors(t) {
				if tt.skip != nil && tt.skip(v) {
					continue
				}
				r, secrets := v.request(), right(v)
				if tt.change != nil {
					tt.change(v, &r)
				}
				if tt.secrets != nil {
					secrets = tt.secrets(v)
				}
				err := v.sender(t).Verify(r, secrets, v.now().Add(tt.later))
				if err == nil || tt.want != nil && !errors.Is(err, tt.want) {
					t.Errorf("%s: %v, want %v", v.Name, err, tt.want)
				}
				checkReason(t, v, err)
			}
		})
	}
}

func undated(v vector) bool { return v.Timestamp == "" }

func set(r *Request, field, value string) {
	h := r.Header.(http.Header)
	h.Del(field)
	if value != "" {
		h.Set(field, value)
	}
}

// repeat adds a field of that name with the same value.
func repeat(r *Request, field string) {
	r.Header.(http.Header).Add(field, r.Header.Get(field))
}

// checkReason holds a reason to one line that gives nothing away.
func checkReason(t *testing.T, v vector, err error) {
	t.Helper()
	if err == nil {
		return
	}
	reason := err.Error()
	if strings.ContainsAny(reason, "\r\n") || strings.Contains(reason, v.Secret) || strings.Contains(reason, v.Body) {
		t.Errorf("%s: unfit for an answer: %q", v.Name, reason)
	}
	if !errors.Is(err, ErrUnsigned) && !errors.Is(err, ErrSignature) && !errors.Is(err, ErrStale) {
		t.Errorf("%s: no verdict: %q", v.Name, reason)
	}
}

// The tolerance is the sender's, to the second, both ways.
func TestVectorsAtTheEdgeOfTolerance(t *testing.T) {
	for _, v := range vectors(t) {
		if undated(v) {
			continue
		}
		for _, later := range []time.Duration{tolerance, -tolerance} {
			if err := v.sender(t).Verify(v.request(), []string{v.Secret}, v.now().Add(later)); err != nil {
				t.Errorf("%s, %v later: %v", v.Name, later, err)
			}
		}
	}
}

// What a vendor signed at a moment is what Resign makes at that moment; an hour
// later the old signature is stale and the fresh one is not.
func TestResign(t *testing.T) {
	senders := map[string]bool{}
	for _, v := range vectors(t) {
		s, ok := v.sender(t).(Resigner)
		if !ok || strings.HasPrefix(v.Secret, "whpk_") || v.Signature == gitlabToken {
			continue
		}
		t.Run(v.Name, func(t *testing.T) {
			senders[v.Sender] = true
			r := v.request()
			fields := s.Resign(r, v.Secret, v.now())
			if len(fields) == 0 {
				t.Fatal("nothing signed")
			}
			for _, f := range fields {
				if got := r.Header.Get(f.Name); got != f.Value && !strings.ContainsAny(got, " ") && strings.Count(got, "v1=") < 2 {
					t.Errorf("%s: %q, its vendor made %q", f.Name, f.Value, got)
				}
			}

			later := v.now().Add(time.Hour)
			if err := v.sender(t).Verify(r, []string{v.Secret}, later); !errors.Is(err, ErrStale) {
				t.Errorf("an hour later: %v, want %v", err, ErrStale)
			}
			for _, f := range s.Resign(r, v.Secret, later) {
				set(&r, f.Name, f.Value)
			}
			if err := v.sender(t).Verify(r, []string{v.Secret}, later); err != nil {
				t.Errorf("signed afresh: %v", err)
			}
			if !bytes.Equal(r.Body, []byte(v.Body)) {
				t.Error("the body changed")
			}
		})
	}
	for _, name := range []string{"slack", "stripe", "standard", "zoom", "gitlab"} {
		if !senders[name] {
			t.Errorf("%s was not signed afresh", name)
		}
	}
}

// Nobody but the owner of a private key can sign for it.
func TestResignWithPublicKey(t *testing.T) {
	for _, v := range vectors(t) {
		if !strings.HasPrefix(v.Secret, "whpk_") {
			continue
		}
		if fields := v.sender(t).(Resigner).Resign(v.request(), v.Secret, v.now()); fields != nil {
			t.Errorf("%s: %v", v.Name, fields)
		}
	}
}

// A flood of forgeries must not become one of garbage. The bounds are those of
// what each scheme has to decode; Twilio has to sort a form, and Ed25519 wants
// its message in one piece.
func TestRejectionAllocatesLittle(t *testing.T) {
	if testkit.Race {
		t.Skip("pools drop their items at random under the race detector")
	}
	most := map[string]float64{"github": 0, "slack": 0, "stripe": 0, "zoom": 0, "meta": 0, "shopify": 0, "standard": 6, "gitlab": 6, "cloudevents": 2, "discord": 4, "twilio": 48}
	for _, v := range vectors(t) {
		s, r, secrets := v.sender(t), v.request(), []string{v.other()}
		if got := testing.AllocsPerRun(100, func() { _ = s.Verify(r, secrets, v.now()) }); got > most[v.Sender] {
			t.Errorf("%s: %v allocations, at most %v", v.Name, got, most[v.Sender])
		}
	}
}
