package senders

import (
	"errors"
	"net/http"
	"testing"
)

var stamped = Stamp{
	ID:         "01980000-0000-7000-8000-000000000001",
	Attempt:    "1",
	ReceivedAt: "2026-11-02T10:00:00.123456Z",
	Verified:   "github",
}

func sluiceHeader(s Stamp, signature string) http.Header {
	h := http.Header{
		"Sluice-Id":          {s.ID},
		"Sluice-Attempt":     {s.Attempt},
		"Sluice-Received-At": {s.ReceivedAt},
		"Sluice-Verified":    {s.Verified},
	}
	if signature != "" {
		h.Set("Sluice-Signature", signature)
	}
	return h
}

// The MAC was computed with openssl dgst -sha256 -hmac "app secret".
func TestSluiceSignatureVector(t *testing.T) {
	const want = "v1=3a3566d662248d9726998586ad98fa39a7dcd405a045b4b0a93290a4d23c448d"
	if got := stamped.Sign("app secret", []byte(`{"a":1}`)); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestVerifySluice(t *testing.T) {
	body := []byte(`5Z.{"a":1}`)
	signature := stamped.Sign("new", body)
	change := func(f func(*Stamp)) Stamp { s := stamped; f(&s); return s }
	tests := []struct {
		name      string
		stamp     Stamp
		signature string
		body      string
		secrets   []string
		want      error
	}{
		{"right", stamped, signature, string(body), []string{"new"}, nil},
		{"second secret", stamped, signature, string(body), []string{"newer", "new"}, nil},
		{"rotated away", stamped, signature, string(body), []string{"newer"}, ErrSignature},
		{"empty secret", stamped, stamped.Sign("", body), string(body), []string{""}, ErrSignature},
		{"no secret", stamped, signature, string(body), nil, ErrSignature},
		{"missing", stamped, "", string(body), []string{"new"}, ErrUnsigned},
		{"junk", stamped, "v1=zz", string(body), []string{"new"}, ErrSignature},
		{"truncated", stamped, signature[:len(signature)-2], string(body), []string{"new"}, ErrSignature},
		{"no version", stamped, signature[3:], string(body), []string{"new"}, ErrSignature},
		{"other body", stamped, signature, `{"a":2}`, []string{"new"}, ErrSignature},
		{"other sender", change(func(s *Stamp) { s.Verified = "stripe" }), signature, string(body), []string{"new"}, ErrSignature},
		{"sender added", change(func(s *Stamp) { s.Verified = "stripe" }), change(func(s *Stamp) { s.Verified = "" }).Sign("new", body), string(body), []string{"new"}, ErrSignature},
		{"other id", change(func(s *Stamp) { s.ID = "01980000-0000-7000-8000-000000000002" }), signature, string(body), []string{"new"}, ErrSignature},
		{"other attempt", change(func(s *Stamp) { s.Attempt = "2" }), signature, string(body), []string{"new"}, ErrSignature},
		{"other time", change(func(s *Stamp) { s.ReceivedAt = "2026-11-02T10:00:00Z" }), signature, string(body), []string{"new"}, ErrSignature},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := VerifySluice(sluiceHeader(tt.stamp, tt.signature), []byte(tt.body), tt.secrets)
			if !errors.Is(err, tt.want) {
				t.Fatalf("got %v, want %v", err, tt.want)
			}
			if err == nil && got != tt.stamp {
				t.Errorf("vouches for %+v, want %+v", got, tt.stamp)
			}
			if err != nil && got != (Stamp{}) {
				t.Errorf("vouches for %+v beside an error", got)
			}
		})
	}
}

// The same signed bytes, cut into fields at another dot, are another statement.
func TestVerifySluiceFieldsDoNotShift(t *testing.T) {
	const body = `{"a":1}`
	signature := stamped.Sign("s", []byte(body))
	unverified := stamped
	unverified.Verified = ""
	plain := unverified.Sign("s", []byte("github."+body))
	tests := map[string]struct {
		stamp     Stamp
		body      string
		signature string
	}{
		"time cut at its fraction": {Stamp{stamped.ID, "1", "2026-11-02T10:00:00", "123456Z"}, "github." + body, signature},
		"sender taken for body":    {Stamp{stamped.ID, "1", stamped.ReceivedAt, ""}, "github." + body, signature},
		"body taken for sender":    {Stamp{stamped.ID, "1", stamped.ReceivedAt, "github"}, body, plain},
		"dotted sender":            {Stamp{stamped.ID, "1", stamped.ReceivedAt, ".github"}, body, plain},
		"time and sender in one":   {Stamp{stamped.ID, "1", stamped.ReceivedAt + ".github", ""}, body, signature},
		"id and attempt in one":    {Stamp{stamped.ID + ".1", "1", stamped.ReceivedAt, "github"}, body, signature},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if _, err := VerifySluice(sluiceHeader(tt.stamp, tt.signature), []byte(tt.body), []string{"s"}); !errors.Is(err, ErrSignature) {
				t.Errorf("got %v, want %v", err, ErrSignature)
			}
		})
	}
}
