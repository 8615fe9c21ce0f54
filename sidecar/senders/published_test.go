package senders

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// published are the vectors of the senders that are schemes alone; see
// testdata/vectors/published.mjs.
func published(t testing.TB) []vector {
	t.Helper()
	return readVectors(t, "testdata/vectors/published.json", 25)
}

// declaredOf is the scheme's own sender, without the code that some add.
func declaredOf(t testing.TB, name string) *declared {
	t.Helper()
	d := schemeOf(known(t, name))
	if d == nil {
		t.Fatalf("%s has no scheme", name)
	}
	return d
}

func TestPublishedVectors(t *testing.T) {
	tried := map[string]bool{}
	for _, v := range published(t) {
		t.Run(v.Name, func(t *testing.T) {
			s := v.sender(t)
			tried[v.Sender] = true
			for _, secrets := range [][]string{{v.Secret}, {"another secret", v.Secret}, {v.Secret, "another secret"}, {"", v.Secret}} {
				if err := s.Verify(v.request(), secrets, v.now()); err != nil {
					t.Errorf("%d secrets: %v (%s)", len(secrets), err, v.Origin)
				}
			}
			if got, want := s.Identify(v.request()), (Identity{DeliveryID: v.DeliveryID, Event: v.Event}); got != want {
				t.Errorf("identity %+v, want %+v", got, want)
			}
		})
	}
	for name := range schemes() {
		_, isCode := extended[name]
		if !tried[name] && !isCode && written[name] == nil && name != "shopify" {
			t.Errorf("%s has no vector", name)
		}
	}
}

// change is one way in which a genuine request must no longer pass.
type change struct {
	what  string
	apply func(r *Request)
}

// changes are all that a scheme must notice: every field of the signature gone,
// doubled, shortened, lengthened and altered at every place, and each part of what
// is signed.
func changes(d *declared, v vector) []change {
	var all []change
	for _, field := range d.fields {
		value := v.request().Header.Get(field)
		if value == "" || strings.Contains(v.Name, "box") && strings.HasPrefix(field, "Box-Signature") {
			continue // Box has two, of which one is enough: TestBoxKeys
		}
		put := func(what, to string) {
			all = append(all, change{fmt.Sprintf("%s %s", field, what), func(r *Request) { set(r, field, to) }})
		}
		put("gone", "")
		put("shortened", value[:len(value)-1])
		put("lengthened", value+"0")
		put("junk", "\x00,=v1,v0=sha256=")
		put("in another case", strings.ToUpper(value)+"=")
		for i := range value {
			altered := []byte(value)
			altered[i] ^= 1
			put(fmt.Sprintf("altered at %d", i), string(altered))
		}
		all = append(all, change{field + " doubled", func(r *Request) { repeat(r, field) }})
	}
	if d.base.has(varBody) {
		all = append(all,
			change{"body added to", func(r *Request) { r.Body = append(r.Body, ' ') }},
			change{"body's last byte gone", func(r *Request) { r.Body = r.Body[:max(0, len(r.Body)-1)]; r.Body = append([]byte{'x'}, r.Body...) }},
			change{"body altered", func(r *Request) {
				r.Body = append(bytes.Clone(r.Body), 0)
				r.Body[0] ^= 1
			}},
		)
	}
	if d.base.has(varURL) {
		all = append(all, change{"another URL", func(r *Request) { r.URL += "?x" }})
	}
	if d.base.has(varMethod) {
		all = append(all, change{"another method", func(r *Request) { r.Method = "PUT" }})
	}
	return all
}

func TestPublishedVectorsChanged(t *testing.T) {
	count := 0
	for _, v := range published(t) {
		d, right := declaredOf(t, v.Sender), []string{v.Secret}
		for _, c := range changes(d, v) {
			r := v.request()
			c.apply(&r)
			count++
			err := d.Verify(r, right, v.now())
			if err == nil {
				t.Errorf("%s, %s: accepted", v.Name, c.what)
			}
			if v.Body != "" && v.Secret != "secret" { // a word of every reason
				checkReason(t, v, err)
			}
		}
		for _, secrets := range [][]string{nil, {""}, {"another secret"}, {v.Secret + "x"}, {strings.ToUpper(v.Secret) + "X"}} {
			if err := d.Verify(v.request(), secrets, v.now()); !errors.Is(err, ErrSignature) {
				t.Errorf("%s: %v with secrets that signed nothing", v.Name, err)
			}
		}
		checkAges(t, d, v)
	}
	t.Logf("%d changes", count)
	if count < 1000 {
		t.Errorf("only %d changes were tried", count)
	}
}

// checkAges: the tolerance is the scheme's, both ways, to the second.
func checkAges(t *testing.T, d *declared, v vector) {
	t.Helper()
	if d.time == nil || d.time.tolerance == 0 {
		return
	}
	signed, ok := parseTime(d.time.from.value(new(v.request())), d.time.unit)
	if !ok {
		t.Fatalf("%s: unreadable time", v.Name)
	}
	for _, beyond := range []time.Duration{time.Second, -time.Second} {
		edge := d.time.tolerance * (beyond / time.Second)
		if err := d.Verify(v.request(), []string{v.Secret}, signed.Add(edge)); err != nil {
			t.Errorf("%s, %v later: %v", v.Name, edge, err)
		}
		if err := d.Verify(v.request(), []string{v.Secret}, signed.Add(edge+beyond)); !errors.Is(err, ErrStale) {
			t.Errorf("%s, more than %v later: %v", v.Name, edge, err)
		}
	}
}

// Either of Box's fields is enough, by either key, and no more than that.
func TestBoxKeys(t *testing.T) {
	box := known(t, "box")
	for _, v := range published(t) {
		if v.Sender != "box" || v.Headers["box-signature-secondary"] == "" {
			continue
		}
		mine, other := "Box-Signature-Primary", "Box-Signature-Secondary"
		if v.Secret == "SampleSecondaryKey" {
			mine, other = other, mine
		}
		for field, want := range map[string]error{mine: ErrSignature, other: nil} {
			for _, to := range []string{"", "junk", v.request().Header.Get(field)[:20]} {
				r := v.request()
				set(&r, field, to)
				if err := box.Verify(r, []string{v.Secret}, v.now()); !errors.Is(err, want) {
					t.Errorf("%s %q: %v, want %v", field, to, err, want)
				}
			}
		}
		r := v.request()
		later := v.now().Add(time.Hour)
		fields := box.(Resigner).Resign(r, v.Secret, later)
		if len(fields) != 2 || fields[1].Name != mine {
			t.Errorf("signed afresh in %v, want %s", fields, mine)
		}
	}
}

// Zendesk's page of before signed the body first; today's must not take it.
func TestZendeskOfBefore(t *testing.T) {
	r := Request{Method: "POST", Header: headerOf(map[string]string{
		"X-Zendesk-Webhook-Signature-Timestamp": "2021-07-25T10:00:00Z",
		"X-Zendesk-Webhook-Signature":           "tRDSF7URY8BLCDlaBcQ7FHu051Zk+aAB0NKMP53teMw=",
	}), Body: []byte(`{"say": "hello"}`)}
	const secret = "HRkRd4BeOAoUkfZr-mhauJT64rvBASlJRoIyPsd3zeA="
	if err := known(t, "zendesk").Verify(r, []string{secret}, time.Now()); !errors.Is(err, ErrSignature) {
		t.Errorf("got %v", err)
	}
	older, err := ParseSchemes([]byte(`zendesk: {signature: header:X-Zendesk-Webhook-Signature, encoding: base64, base: "{body}{timestamp}",
  timestamp: {from: header:X-Zendesk-Webhook-Signature-Timestamp, unit: rfc3339, tolerance: none}}`))
	if err != nil {
		t.Fatal(err)
	}
	s, err := older["zendesk"].Compile("zendesk")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Verify(r, []string{secret}, time.Now()); err != nil {
		t.Errorf("by the page of before: %v", err)
	}
}

// What a scheme signs afresh verifies an hour later, when the first no longer does.
func TestPublishedVectorsSignedAfresh(t *testing.T) {
	afresh := 0
	for _, v := range published(t) {
		s, ok := v.sender(t).(Resigner)
		if !ok {
			continue
		}
		afresh++
		r, later := v.request(), v.now().Add(time.Hour)
		if err := v.sender(t).Verify(r, []string{v.Secret}, later); !errors.Is(err, ErrStale) {
			t.Errorf("%s: %v an hour later", v.Name, err)
		}
		for _, f := range s.Resign(r, v.Secret, later) {
			set(&r, f.Name, f.Value)
		}
		if err := v.sender(t).Verify(r, []string{v.Secret}, later); err != nil {
			t.Errorf("%s, signed afresh: %v", v.Name, err)
		}
		if fields := s.Resign(r, "", later); fields != nil {
			t.Errorf("%s: signed with no secret: %v", v.Name, fields)
		}
	}
	if afresh < 5 {
		t.Errorf("only %d were signed afresh", afresh)
	}
}

func TestDeclaredHandshakes(t *testing.T) {
	header := func(name, value string) http.Header { return headerOf(map[string]string{name: value}) }
	tests := []struct {
		name, sender string
		r            Request
		status       int // 0: no handshake
		kind, body   string
	}{
		{"okta", "okta", Request{Method: "GET", Header: header("X-Okta-Verification-Challenge", `a"b</script>`)}, 200, "application/json", `{"verification":"a\"b\u003c/script\u003e"}`},
		{"okta event", "okta", Request{Method: "POST", Header: header("X-Okta-Verification-Challenge", "x")}, 0, "", ""},
		{"dropbox", "dropbox", Request{Method: "GET", URL: "https://a.example/in?challenge=%3Cb%3E", Header: http.Header{}}, 200, "text/plain; charset=utf-8", "<b>"},
		{"dropbox without", "dropbox", Request{Method: "GET", URL: "https://a.example/in", Header: http.Header{}}, 0, "", ""},
		{"twitch", "twitch", Request{Method: "POST", Header: header("Twitch-Eventsub-Message-Type", "webhook_callback_verification"), Body: []byte(`{"challenge":"pogchamp"}`)}, 200, "text/plain; charset=utf-8", "pogchamp"},
		{"twitch event", "twitch", Request{Method: "POST", Header: header("Twitch-Eventsub-Message-Type", "notification"), Body: []byte(`{"challenge":"x"}`)}, 0, "", ""},
		{"twitch unsigned GET", "twitch", Request{Method: "GET", Header: header("Twitch-Eventsub-Message-Type", "webhook_callback_verification")}, 0, "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a, ok := known(t, tt.sender).(Handshaker).Handshake(tt.r, nil)
			if ok != (tt.status != 0) || a.Status != tt.status || a.ContentType != tt.kind || string(a.Body) != tt.body {
				t.Errorf("%v: %d %s %q", ok, a.Status, a.ContentType, a.Body)
			}
			if ok && a.Header["X-Content-Type-Options"] != "nosniff" {
				t.Error("an echo may be sniffed")
			}
		})
	}
	if known(t, "twitch").Traits().OpenHandshake || !known(t, "okta").Traits().OpenHandshake {
		t.Error("a handshake is asked for on the wrong side of the signature")
	}
}
