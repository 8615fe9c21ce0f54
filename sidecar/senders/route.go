package senders

import (
	"encoding/hex"
	"fmt"
	"strings"
)

const (
	sluiceRoute          = "Sluice-Route"
	sluiceRouteSignature = "Sluice-Route-Signature"
	routePurpose         = "route\n" // no other text that is signed with SLUICE_SECRET begins so
)

// RouteStamp is what Sluice vouches for about the way of a webhook. It is signed
// apart from [Stamp], since apps compare that signature whole.
type RouteStamp struct {
	ID     string // Sluice-Id, which Stamp covers too: the two belong together
	Route  string // Sluice-Route: the route's name
	Method string // of the request line
	Target string // of the request line, byte for byte: path and query
}

// Sign returns the value of Sluice-Route-Signature:
//
//	v1=hex(HMAC-SHA256(secret, "route\n" id "\n" route "\n" method "\n" target))
func (s RouteStamp) Sign(secret string) string {
	sum := sum256(secret, nil, routePurpose, s.ID, "\n", s.Route, "\n", s.Method, "\n", s.Target)
	return "v1=" + hex.EncodeToString(sum[:])
}

// VerifyRoute checks that one of secrets signed the route's name for a request
// with that method and target, which is r.RequestURI in net/http, and returns the
// name. The error wraps ErrUnsigned or ErrSignature. A sidecar of an earlier release
// sends no such signature. Call [VerifySluice] too: it covers the body.
func VerifyRoute(h Header, method, target string, secrets []string) (route string, err error) {
	signature := h.Get(sluiceRouteSignature)
	if signature == "" {
		return "", errRouteUnsigned
	}
	digits, prefixed := strings.CutPrefix(signature, "v1=")
	sum, readable := hexSum(digits)
	if !prefixed || !readable {
		return "", errRouteMalformed
	}
	s := RouteStamp{ID: h.Get("Sluice-Id"), Route: h.Get(sluiceRoute), Method: method, Target: target}
	// No field may hold the line feed that divides them.
	if s.ID == "" || s.Route == "" || strings.ContainsRune(s.ID+s.Route+s.Method+s.Target, '\n') {
		return "", errRouteFields
	}
	if !signedBy(&sum, secrets, nil, routePurpose, s.ID, "\n", s.Route, "\n", s.Method, "\n", s.Target) {
		return "", errRouteMismatch
	}
	return s.Route, nil
}

var (
	errRouteUnsigned  = unsigned(sluiceRouteSignature)
	errRouteMalformed = malformed(sluiceRouteSignature)
	errRouteMismatch  = mismatch(sluiceRouteSignature)
	errRouteFields    = fmt.Errorf("%w: unreadable Sluice-Id or Sluice-Route", ErrSignature)
)
