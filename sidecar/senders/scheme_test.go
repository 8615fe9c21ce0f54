package senders

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

func compileText(t testing.TB, text string) (Sender, error) {
	t.Helper()
	all, err := ParseSchemes([]byte("acme: {" + text + "}"))
	if err != nil {
		t.Fatal(err)
	}
	return all["acme"].Compile("acme")
}

// Every fault is told at once, by its field.
func TestSchemeProblems(t *testing.T) {
	const signature = "signature: header:X-S, "
	tests := []struct{ text, field string }{
		{`mac: equal`, "signature"},
		{`signature: nowhere`, "signature[0].from"},
		{`signature: ["header:X-S", "header:a b"]`, "signature[1].from"},
		{signature + `mac: md5`, "mac"},
		{signature + `encoding: rot13`, "encoding"},
		{signature + `key: octal`, "key"},
		{signature + `base: "{tiemstamp}{body}"`, "base"},
		{signature + `base: "{header}{body}"`, "base"},
		{signature + `base: "{id}"`, "base"},
		{signature + `base: "{id}{body}"`, "id"},
		{signature + `base: "{timestamp}{body}"`, "timestamp"},
		{signature + `base: "{secret}{body}"`, "base"},
		{signature + `mac: sha256`, "base"},
		{signature + `mac: equal, base: "{body}"`, "base"},
		{signature + `timestamp: header:X-T`, ""},
		{signature + `timestamp: {from: header:X-T}`, "timestamp"},
		{signature + `timestamp: {from: header:X-T, unit: h}, base: "{timestamp}{body}"`, "timestamp.unit"},
		{signature + `timestamp: {from: header:X-T, tolerance: forever}, base: "{timestamp}{body}"`, "timestamp.tolerance"},
		{signature + `url: /in`, "url"},
		{signature + `url: "https://a.example/"`, "url"},
		{signature + `status: 500`, "status"},
		{signature + `budget: fast`, "budget"},
		{signature + `final: ["bad"]`, "final"},
		{signature + `refuse: 200`, "refuse"},
		{signature + `lane: "query:q"`, "lane"},
		{signature + `lane: [a.b, "header:a b"]`, "lane"},
		{signature + `marks: ["a b"]`, "marks"},
		{signature + `handshake: [{when: {method: POST, query: q}}]`, "handshake[0].when.method"},
		{signature + `handshake: [{when: {method: GET}}]`, "handshake[0].when"},
		{signature + `handshake: [{signed: true, when: {method: GET, query: q}}]`, "handshake[0].when.method"},
		{signature + `handshake: [{when: {method: GET, query: q}, reply: {type: text/html}}]`, "handshake[0].reply.type"},
		{signature + `handshake: [{when: {method: GET, query: q}, reply: {status: 302}}]`, "handshake[0].reply.status"},
		{signature + `handshake: [{when: {method: GET, query: q}, reply: {body: "{secret}"}}]`, "handshake[0].reply.body"},
		{signature + `handshake: [{when: {method: GET, query: q}}, {signed: true, when: {header: X}}]`, "handshake"},
	}
	for _, tt := range tests {
		if tt.field == "" {
			if _, err := ParseSchemes([]byte("acme: {" + tt.text + "}")); err == nil {
				t.Errorf("%s: parsed", tt.text)
			}
			continue
		}
		_, err := compileText(t, tt.text)
		var problems Problems
		if !errors.As(err, &problems) || !slices.ContainsFunc(problems, func(p Problem) bool { return p.Field == tt.field }) {
			t.Errorf("%s: want a problem with %s, got %v", tt.text, tt.field, err)
		}
	}
	_, err := compileText(t, `signature: nowhere, mac: md5, status: 1, budget: x`)
	if err == nil || strings.Count(err.Error(), "\n") != 3 {
		t.Errorf("not every problem is told: %v", err)
	}
	if _, err := (Scheme{Signature: Sources{{From: "header:X"}}}).Compile("A B"); err == nil {
		t.Error("a name with a space compiles")
	}
	for _, bad := range []string{"acme: {signatur: header:X}", "acme: {signature: [{form: header:X}]}", "acme: 1", "{", "acme: {signature: [[1]]}"} {
		if _, err := ParseSchemes([]byte(bad)); err == nil {
			t.Errorf("%s: parsed", bad)
		}
	}
}

// Senders that this package never heard of, each by a scheme alone, with the
// vector that its vendor or a library of others publishes.
func TestUnknownSenders(t *testing.T) {
	now := time.Unix(1793613600, 0)
	tests := []struct {
		name, scheme, secret string
		r                    Request
	}{
		{"airtable, a base64 key", `signature: {from: header:X-Airtable-Content-MAC, prefix: "hmac-sha256="}, key: base64`, "c2VjcmV0LWtleQ==", Request{
			Header: headerOf(map[string]string{"X-Airtable-Content-MAC": "hmac-sha256=e26da696a90933647bddc83995c3e1e3bb1c3d8ce1ff61cb7469767d50b2b2d4"}),
			Body:   []byte(`{"base": {"id": "app00000000000000"}, "webhook": {"id": "ach00000000000000"}, "timestamp": "2022-02-01T21:25:05.663Z"}`),
		}},
		{"hubspot v2, plain SHA-256", `signature: header:X-HubSpot-Signature, mac: sha256, base: "{secret}{method}{url}{body}"`, "yyyyyyyy-yyyy-yyyy-yyyy-yyyyyyyyyyyy", Request{
			Method: "POST", URL: "https://www.example.com/webhook_uri", Body: []byte(`{"example_field":"example_value"}`),
			Header: headerOf(map[string]string{"X-HubSpot-Signature": "9569219f8ba981ffa6f6f16aa0f48637d35d728c7e4d93d0d52efaa512af7900"}),
		}},
		{"hubspot v2, GET", `signature: header:X-HubSpot-Signature, mac: sha256, base: "{secret}{method}{url}{body}"`, "yyyyyyyy-yyyy-yyyy-yyyy-yyyyyyyyyyyy", Request{
			Method: "GET", URL: "https://www.example.com/webhook_uri",
			Header: headerOf(map[string]string{"X-HubSpot-Signature": "eee2dddcc73c94d699f5e395f4b9d454a069a6855fbfa152e91e88823087200e"}),
		}},
		{"basic", `signature: {from: header:Authorization, prefix: "Basic "}, mac: equal, encoding: base64`, "user:password", Request{
			Header: headerOf(map[string]string{"Authorization": "Basic dXNlcjpwYXNzd29yZA=="}),
		}},
		{"numbered fields", `signature: header:X-DocuSign-Signature-*`, "secret", Request{
			Header: headerOf(map[string]string{
				"X-Docusign-Signature-1": strings.Repeat("0", 64),
				"X-Docusign-Signature-2": "773ba44693c7553d6ee20f61ea5d2757a9a4f4a44d2841ae4e95b52e4cd62db4",
			}), Body: []byte("foo"),
		}},
		{"svix by scheme", `signature: {from: header:svix-signature, split: " ", prefix: "v1,"}, encoding: base64, key: base64, key_prefix: whsec_, id: header:svix-id,
			timestamp: {from: header:svix-timestamp, tolerance: none}, base: "{id}.{timestamp}.{body}"`, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", Request{
			Header: headerOf(map[string]string{"Svix-Id": "msg_p5jXN8AQM9LWM0D4loKWxJek", "Svix-Timestamp": "1614265330", "Svix-Signature": "v1,AAAA v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="}),
			Body:   []byte(`{"test": 2432232314}`),
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := compileText(t, tt.scheme)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Verify(tt.r, []string{"another", tt.secret}, now); err != nil {
				t.Error(err)
			}
			if err := s.Verify(tt.r, []string{"another", ""}, now); !errors.Is(err, ErrSignature) {
				t.Errorf("another secret: %v", err)
			}
			if err := s.Verify(Request{Method: tt.r.Method, URL: tt.r.URL, Header: http.Header{}, Body: tt.r.Body}, []string{tt.secret}, now); !errors.Is(err, ErrUnsigned) {
				t.Errorf("unsigned: %v", err)
			}
			if d := schemeOf(s); !d.token {
				tt.r.Body = append([]byte("x"), tt.r.Body...)
				if err := s.Verify(tt.r, []string{tt.secret}, now); !errors.Is(err, ErrSignature) {
					t.Errorf("another body: %v", err)
				}
			}
		})
	}
}

// A list of forged signatures costs no more than its cap.
func TestCandidatesAreCapped(t *testing.T) {
	s, err := compileText(t, `signature: {from: header:X-S, split: ","}`)
	if err != nil {
		t.Fatal(err)
	}
	const right = "773ba44693c7553d6ee20f61ea5d2757a9a4f4a44d2841ae4e95b52e4cd62db4"
	for n, want := range map[int]error{0: nil, maxCandidates - 1: nil, maxCandidates: ErrSignature} {
		r := Request{Header: headerOf(map[string]string{"X-S": strings.Repeat(strings.Repeat("0", 64)+",", n) + right}), Body: []byte("foo")}
		if err := s.Verify(r, []string{"secret"}, time.Time{}); !errors.Is(err, want) {
			t.Errorf("behind %d others: %v, want %v", n, err, want)
		}
	}
}

// FuzzSchemes: whatever text a file holds, it is read or refused, and a scheme
// that compiles lets nothing pass that nobody signed.
func FuzzSchemes(f *testing.F) {
	f.Add("signature: header:X-S", "header:X-S", "00", []byte("{}"))
	f.Add(`signature: [{from: "json:a", split: ",", prefix: "v="}, "form:b", "query:c", "header:D-*"], mac: sha256, base: "{secret}{url}{json:x}{body}"`, "a", "v=1", []byte(`{"a":"v=1"}`))
	f.Add(`signature: header:X, timestamp: {from: json:t, unit: ms, tolerance: 1s}, handshake: [{when: {method: GET, query: q=1}, reply: {type: application/json, body: "{query:q}"}}]`, "X", "", []byte(`{"t":1793613600000}`))
	now := time.Unix(1793613600, 0)
	f.Fuzz(func(t *testing.T, text, field, value string, body []byte) {
		all, err := ParseSchemes([]byte("acme: {" + text + "}"))
		if err != nil {
			return
		}
		for name, scheme := range all {
			s, err := scheme.Compile(name)
			if err != nil {
				var problems Problems
				if !errors.As(err, &problems) || len(problems) == 0 {
					t.Errorf("no problems: %v", err)
				}
				continue
			}
			h := http.Header{}
			h.Set(field, value)
			r := Request{Method: "POST", URL: "https://a.example/?" + value, Header: h, Body: body}
			if err := s.Verify(r, []string{"a secret that nobody guesses"}, now); err == nil {
				t.Error("accepted")
			}
			Explain(s, r, []string{"a secret that nobody guesses"}, now)
			s.(Handshaker).Handshake(r, nil)
		}
	})
}

// FuzzDeclared feeds each shipped scheme what a stranger may send; what is signed
// by it verifies, and no longer does with another body.
func FuzzDeclared(f *testing.F) {
	names := slices.Sorted(func(yield func(string) bool) {
		for name := range schemes() {
			if !yield(name) {
				return
			}
		}
	})
	for i := range names {
		f.Add(uint8(i), "v1=00,ts=1;h1=00", "1793613600", []byte(`{"webhookTimestamp":1793613600000}`))
	}
	now := time.Unix(1793613600, 0)
	f.Fuzz(func(t *testing.T, n uint8, signature, at string, body []byte) {
		d := schemeOf(known(t, names[int(n)%len(names)]))
		r := Request{Method: "POST", URL: "https://a.example/", Header: http.Header{}, Body: body}
		for i, field := range d.fields {
			set(&r, field, []string{signature, at}[i%2])
		}
		if err := d.Verify(r, []string{"a secret that nobody guesses", ""}, now); err == nil {
			t.Error("accepted")
		}
		signDeclared(t, d, &r, "k3y", now)
		err := d.Verify(r, []string{"k3y"}, now)
		signable := d.complete(&r) == nil && (d.time == nil || d.time.from.kind == fromHeader)
		if err != nil && signable {
			t.Errorf("%s signed: %v", d.traits.Name, err)
		}
		r.Body = append([]byte("x"), r.Body...)
		if d.base.has(varBody) && d.Verify(r, []string{"k3y"}, now) == nil {
			t.Errorf("%s: another body", d.traits.Name)
		}
	})
}
