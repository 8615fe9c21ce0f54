// Package senders knows how each webhook sender signs, names and numbers what
// it sends.
//
// It is pure: bytes and header fields in, a verdict out. It opens no
// connection, reads no clock (the time of receipt is a parameter) and keeps
// nothing of a request, so the sidecar, the app and anyone else's program can
// import it. It must never log, never keep a body beyond the call and never
// answer anybody: who calls it decides what a verdict means.
//
// A sender is a [Scheme] in schemes.yaml, or, where a scheme cannot say it, one
// file with one type that has the methods of [Sender], and, where the sender
// calls for it, those of [Handshaker], [Decliner] or [Resigner]; docs/senders.md
// shows how to make one. [Stamp] and [VerifySluice]
// are the signature between a sidecar and its app. The exported names are more
// than fifteen because each of those small interfaces is one, and because the
// app needs the other side of what the sidecar signs.
package senders

import (
	"errors"
	"slices"
	"strconv"
	"time"
)

// Header gives the values of a request's header fields. Names are matched
// without regard to case. net/http.Header satisfies it.
type Header interface {
	// Get returns the first value of the named field, "" when there is none.
	Get(name string) string
	// Values returns every value of the named field in the order received.
	Values(name string) []string
}

// Request is a webhook as its sender sent it.
type Request struct {
	Method string
	URL    string // absolute, as the sender addressed it: scheme, host, path and query
	Header Header
	Body   []byte // the exact bytes; never changed by this package
}

// Verdicts of [Sender.Verify]. The message behind them is one line that is fit
// for a 401 answer and never contains a secret or part of the body.
var (
	ErrUnsigned  = errors.New("no signature")
	ErrSignature = errors.New("wrong signature")
	ErrStale     = errors.New("signature too old")
)

// Identity is what a sender says about one delivery.
type Identity struct {
	DeliveryID string // the sender's own id of the delivery, "" when it gives none
	Event      string // the event's name, "" when unknown
	// Sync marks a request whose answer matters to the sender (a slash
	// command, an interactive payload, TwiML): it is never held.
	Sync bool
	// Retry marks a delivery that the sender itself calls a repetition of an
	// earlier one (Slack's X-Slack-Retry-Num).
	Retry bool
}

// Traits are the fixed properties of a sender.
type Traits struct {
	Name       string        // as in WEBHOOK_ROUTES: "github"
	SecretVar  string        // the environment variable with its secrets, "" when it has none
	Budget     time.Duration // how long the app may take before the sender must be answered
	HoldStatus int           // the status that acknowledges a held webhook: 200, 202 or 204
	// HoldBody is the body of that acknowledgement where the sender wants a certain
	// one, as plain text; "" for the sidecar's own.
	HoldBody string
	// RetriesItself is true when the sender repeats an unacknowledged delivery
	// under the same id, so that a second copy is no deliberate redelivery.
	RetriesItself bool
	// HandshakeVar names the variable whose values Handshake gets in place of
	// those of SecretVar (Meta's verify token), "" when it gets the same.
	HandshakeVar string
	// OpenHandshake is true when the handshake carries no signature: the caller
	// asks Handshake before Verify, and what is one is never held, never called
	// verified, and goes to the app unverified while the app is there.
	OpenHandshake bool
	// Marks are header fields by any of which its requests are known, nil where
	// it has none. A variable of the package holds them: Traits is asked for
	// every request.
	Marks []string
	// SharedMarks is true for a scheme whose fields other senders use as well:
	// one that has marks of its own goes first.
	SharedMarks bool
	// Lane is where the key is that the sender's webhooks are ordered by, nil when
	// they have none: a JSON path (GitHub's "repository.full_name"), "header:NAME"
	// or "form:NAME", of which the first counts that is there.
	Lane []string
	// Final are the statuses after which the sender never sends a delivery
	// again: "401", or "4xx" for all of them.
	Final []string
	// Refuse is the status for a request that Verify rejects, 0 for 401. It is
	// 503 where 401 is final: with a wrong secret here every event would be lost.
	Refuse int
}

// isFinal reports whether the sender gives up at that status.
func (t Traits) isFinal(status int) bool {
	text := strconv.Itoa(status)
	return slices.Contains(t.Final, text) || slices.Contains(t.Final, text[:1]+"xx")
}

// Sender is one kind of webhook sender.
type Sender interface {
	Traits() Traits
	// Verify returns nil when one of the secrets signed the request, else an
	// error that wraps ErrUnsigned, ErrSignature or ErrStale. now is the time
	// of receipt, against which the sender's own tolerance is measured. It is
	// called only with at least one secret.
	Verify(r Request, secrets []string, now time.Time) error
	// Identify reads the delivery id and the event. It never fails: what
	// cannot be read stays empty.
	Identify(r Request) Identity
}

// Answer is a complete response to a request that the app need not see.
type Answer struct {
	Status      int
	ContentType string
	Header      map[string]string // further fields, nil when there are none
	Body        []byte
}

// Handshaker is a sender that checks an endpoint before it uses it.
type Handshaker interface {
	// Handshake returns the answer when r is a handshake, and whether it is
	// one. The caller has verified r where the sender signs its handshakes (see
	// Traits.OpenHandshake). The secrets are those of Traits.HandshakeVar, or
	// of SecretVar where that is "".
	Handshake(r Request, secrets []string) (Answer, bool)
}

// Decliner is a sender that has a form of its own for "not now" to a request
// that is never held ([Identity].Sync).
type Decliner interface {
	// Decline returns the answer to r while the app is away, and whether r has
	// one; without one it gets a plain 503 with Retry-After.
	Decline(r Request) (Answer, bool)
}

// Field is one header field.
type Field struct{ Name, Value string }

// Resigner is a sender whose signature ages and can be made afresh with the
// shared secret.
type Resigner interface {
	// Resign returns the fields that replace those of the same names so that
	// r verifies at now. It is called only for what was verified at receipt.
	Resign(r Request, secret string, now time.Time) []Field
}
