package senders

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"testing"
)

func TestVerifyRoute(t *testing.T) {
	stamp := RouteStamp{ID: "0190-a", Route: "pay", Method: "POST", Target: "/hooks/pay?x=1"}
	mac := hmac.New(sha256.New, []byte("a secret"))
	mac.Write([]byte("route\n0190-a\npay\nPOST\n/hooks/pay?x=1"))
	signature := "v1=" + hex.EncodeToString(mac.Sum(nil))
	if got := stamp.Sign("a secret"); got != signature {
		t.Fatalf("signature is %s, want %s", got, signature)
	}
	signed := func(change func(http.Header)) http.Header {
		h := http.Header{"Sluice-Id": {"0190-a"}, "Sluice-Route": {"pay"}, "Sluice-Route-Signature": {signature}}
		change(h)
		return h
	}
	for _, c := range []struct {
		what           string
		change         func(http.Header)
		method, target string
		err            error
	}{
		{"as sent", func(http.Header) {}, "POST", "/hooks/pay?x=1", nil},
		{"no signature", func(h http.Header) { h.Del("Sluice-Route-Signature") }, "POST", "/hooks/pay?x=1", ErrUnsigned},
		{"another route", func(h http.Header) { h.Set("Sluice-Route", "ci") }, "POST", "/hooks/pay?x=1", ErrSignature},
		{"no route", func(h http.Header) { h.Del("Sluice-Route") }, "POST", "/hooks/pay?x=1", ErrSignature},
		{"another webhook", func(h http.Header) { h.Set("Sluice-Id", "0190-b") }, "POST", "/hooks/pay?x=1", ErrSignature},
		{"another method", func(http.Header) {}, "PUT", "/hooks/pay?x=1", ErrSignature},
		{"another path", func(http.Header) {}, "POST", "/hooks/ci?x=1", ErrSignature},
		{"another query", func(http.Header) {}, "POST", "/hooks/pay?x=2", ErrSignature},
		{"fields that run into one another", func(h http.Header) { h.Set("Sluice-Id", "0190-a\npay"); h.Set("Sluice-Route", "POST") }, "/hooks/pay?x=1", "", ErrSignature},
		{"half a signature", func(h http.Header) { h.Set("Sluice-Route-Signature", signature[:40]) }, "POST", "/hooks/pay?x=1", ErrSignature},
	} {
		route, err := VerifyRoute(signed(c.change), c.method, c.target, []string{"new one", "a secret"})
		if !errors.Is(err, c.err) || (err == nil) != (route == "pay") {
			t.Errorf("%s: route %q, %v", c.what, route, err)
		}
	}
	if _, err := VerifyRoute(signed(func(http.Header) {}), "POST", "/hooks/pay?x=1", []string{""}); err == nil {
		t.Error("an empty secret verifies")
	}
}
