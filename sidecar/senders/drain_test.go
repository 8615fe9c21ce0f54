package senders

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"
)

func drainHeader(fields []Field) http.Header {
	h := http.Header{}
	for _, f := range fields {
		h.Set(f.Name, f.Value)
	}
	return h
}

// The MAC was computed with printf 'drain\n1793613600' | openssl dgst -sha256 -hmac "app secret".
func TestDrainVector(t *testing.T) {
	h := drainHeader(SignDrain("app secret", time.Unix(1793613600, 999)))
	if h.Get("Sluice-Timestamp") != "1793613600" || h.Get("Sluice-Signature") != "v1=10e966aa4cb9b501b7eab7b00ee7f8b7c831bdf9cfdee94796a1bfe669e6b6ab" {
		t.Errorf("got %v", h)
	}
}

func TestVerifyDrain(t *testing.T) {
	now := time.Unix(1793613600, 0)
	right := SignDrain("new", now)
	with := func(name, value string) http.Header {
		h := drainHeader(right)
		h.Set(name, value)
		return h
	}
	for _, c := range []struct {
		name    string
		header  http.Header
		secrets []string
		later   time.Duration
		want    error
	}{
		{"right", drainHeader(right), []string{"new"}, 0, nil},
		{"during rotation", drainHeader(right), []string{"newer", "new"}, 0, nil},
		{"just in time", drainHeader(right), []string{"new"}, time.Minute, nil},
		{"a clock behind", drainHeader(right), []string{"new"}, -time.Minute, nil},
		{"too old", drainHeader(right), []string{"new"}, time.Minute + time.Second, ErrStale},
		{"from the future", drainHeader(right), []string{"new"}, -time.Minute - time.Second, ErrStale},
		{"rotated away", drainHeader(right), []string{"newer"}, 0, ErrSignature},
		{"empty secret", drainHeader(SignDrain("", now)), []string{""}, 0, ErrSignature},
		{"no secret", drainHeader(right), nil, 0, ErrSignature},
		{"nothing", http.Header{}, []string{"new"}, 0, ErrUnsigned},
		{"no time", with("Sluice-Timestamp", ""), []string{"new"}, 0, ErrUnsigned},
		{"no signature", with("Sluice-Signature", ""), []string{"new"}, 0, ErrUnsigned},
		{"another time", with("Sluice-Timestamp", "1793613601"), []string{"new"}, 0, ErrSignature},
		{"the same time, written otherwise", with("Sluice-Timestamp", "+1793613600"), []string{"new"}, 0, ErrSignature},
		{"no number", with("Sluice-Timestamp", "x"), []string{"new"}, 0, ErrSignature},
		{"junk", with("Sluice-Signature", "v1=zz"), []string{"new"}, 0, ErrSignature},
		{"no version", with("Sluice-Signature", strings.TrimPrefix(right[1].Value, "v1=")), []string{"new"}, 0, ErrSignature},
	} {
		if err := VerifyDrain(c.header, c.secrets, now.Add(c.later)); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

// A webhook's signature is none of a drain, and the other way round, whatever
// else its sender can choose.
func TestDrainIsAPurposeOfItsOwn(t *testing.T) {
	now := time.Unix(1793613600, 0)
	for _, body := range []string{"", "1793613600", "drain\n1793613600"} {
		for _, id := range []string{"drain\n1793613600", "drain", "1793613600"} {
			stamp := stamped
			stamp.ID = id
			h := drainHeader([]Field{{"Sluice-Timestamp", "1793613600"}, {"Sluice-Signature", stamp.Sign("secret", []byte(body))}})
			if err := VerifyDrain(h, []string{"secret"}, now); !errors.Is(err, ErrSignature) {
				t.Errorf("the signature of webhook %q begins a drain: %v", id, err)
			}
			h = sluiceHeader(stamp, SignDrain("secret", now)[1].Value)
			if _, err := VerifySluice(h, []byte(body), []string{"secret"}); !errors.Is(err, ErrSignature) {
				t.Errorf("the signature of a drain is one of webhook %q: %v", id, err)
			}
		}
	}
}
