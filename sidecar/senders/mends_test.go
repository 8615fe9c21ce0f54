package senders

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"slices"
	"strconv"
	"testing"
	"time"
)

// Webhooks that one webhook sets off share X-Gitlab-Event-UUID: with it for an id
// the second would pass for a copy of the first.
func TestGitlabRecursionSharesNoID(t *testing.T) {
	r := Request{Header: headerOf(map[string]string{"X-Gitlab-Event": "Push Hook", "X-Gitlab-Event-Uuid": "13792a34"})}
	if got := known(t, "gitlab").Identify(r); got != (Identity{Event: "Push Hook"}) {
		t.Errorf("%+v", got)
	}
}

// A key that is used as it is may look like base64, as BigCommerce's do.
func TestStandardRawKeyThatLooksLikeBase64(t *testing.T) {
	const raw = "c2VjcmV0c2VjcmV0"
	now := time.Unix(1793613600, 0)
	sign := func(key string) Request {
		mac := hmac.New(sha256.New, []byte(key))
		mac.Write([]byte("1." + strconv.FormatInt(now.Unix(), 10) + ".{}"))
		return Request{Body: []byte("{}"), Header: headerOf(map[string]string{
			"Webhook-Id": "1", "Webhook-Timestamp": strconv.FormatInt(now.Unix(), 10),
			"Webhook-Signature": "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)),
		})}
	}
	s := known(t, "standard")
	for _, tt := range []struct {
		secret, key string
		want        error
	}{
		{raw, raw, nil},
		{raw, "secretsecret", nil},
		{"whsec_" + raw, "secretsecret", nil},
		{"whsec_" + raw, raw, ErrSignature}, // the prefix says that it is base64
		{raw, "another", ErrSignature},
	} {
		r := sign(tt.key)
		if err := s.Verify(r, []string{tt.secret}, now); !errors.Is(err, tt.want) {
			t.Errorf("%s signed with %s: %v, want %v", tt.secret, tt.key, err, tt.want)
		}
		if tt.want != nil {
			continue
		}
		for _, f := range s.(Resigner).Resign(r, tt.secret, now) {
			if got := r.Header.Get(f.Name); got != f.Value {
				t.Errorf("%s: %s %q signed afresh, was %q: another reading of the secret", tt.secret, f.Name, f.Value, got)
			}
		}
	}
}

// A refusal that is final for the sender loses the event where the secret here is
// the wrong one.
func TestRefusalsAreNotFinal(t *testing.T) {
	final := 0
	for _, name := range Names() {
		traits := known(t, name).Traits()
		refuse := traits.Refuse
		if refuse == 0 {
			refuse = 401
		}
		if traits.isFinal(refuse) {
			t.Errorf("%s is refused with %d, after which it never comes back", name, refuse)
		}
		if len(traits.Final) > 0 {
			final++
		}
	}
	if final < 3 {
		t.Errorf("only %d senders have final statuses", final)
	}
	if got := known(t, "eventgrid").Traits().Final; !slices.Contains(got, "403") {
		t.Errorf("Event Grid's final statuses are %v, which lacks 403", got)
	}
}

// Seconds, milliseconds and RFC 3339 are read as they are sent.
func TestTimesInEveryUnit(t *testing.T) {
	at := time.Unix(1793613600, 0)
	for _, tt := range []struct {
		unit, text string
		ok         bool
	}{
		{"s", "1793613600", true},
		{"ms", "1793613600000", true},
		{"rfc3339", "2026-11-02T10:00:00Z", true},
		{"rfc3339", "2026-11-02T11:00:00.000000000+01:00", true},
		{"s", "1793613600.0", false},
		{"s", "9999999999999", false},
		{"ms", "9999999999999999", false},
		{"rfc3339", "2026-11-02 10:00:00", false},
		{"s", "", false},
		{"rfc3339", "1793613600", false},
	} {
		got, ok := parseTime(tt.text, tt.unit)
		if ok != tt.ok || ok && !got.Equal(at) {
			t.Errorf("%s %q: %v, %v", tt.unit, tt.text, got, ok)
		}
	}
}
