// Package routes says which path belongs to which sender, and how its webhooks are
// acknowledged; it may change with any release, since compatibility is promised for
// senders and drain alone. It reads both forms: WEBHOOK_ROUTES and the routes file.
//
// It owns their syntax, which means the same in both containers. It is pure: the
// environment is a parameter. It must never read the environment itself, serve
// requests or print a secret. The config packages of the sidecar and of the app
// call it.
package routes

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"time"

	"sluice/sidecar/senders"
)

// Route is one webhook path.
type Route struct {
	// Name is the source of the route's webhooks, the prefix of their lanes and
	// their label in metrics and logs. It is the sender's name unless the route has
	// one of its own.
	Name             string
	Path             string // without the trailing * of a prefix
	Prefix           bool   // everything below Path
	Sender           senders.Sender
	Secrets          []string      // when empty, nothing is verified
	HandshakeSecrets []string      // the same, unless the sender has its own for the handshake (Meta)
	Unverified       bool          // it was said on purpose that nothing is verified
	Lane             LaneKey       // divides the route's webhooks into lanes; one lane when empty
	Sync             bool          // the sender needs the app's answer: never held
	Retry            bool          // an error of the app is held and tried again, not returned
	Status           int           // acknowledges a held webhook: 200, 202 or 204
	Budget           time.Duration // how long the app may take before the sender must be answered

	// Only the file has these.
	Methods  []string       // of webhooks, any other gets 405; POST alone when empty, and any other goes to the app
	Networks []netip.Prefix // from which requests may come; from everywhere when empty
	MaxBody  int64          // in bytes; only the sidecar's own limit when 0
}

// Takes reports whether a request with that method is a webhook.
func (r *Route) Takes(method string) bool {
	if len(r.Methods) == 0 {
		return method == "POST"
	}
	return slices.Contains(r.Methods, method)
}

// Admits reports whether a request may come from that address.
func (r *Route) Admits(addr netip.Addr) bool {
	return len(r.Networks) == 0 || slices.ContainsFunc(r.Networks, func(n netip.Prefix) bool { return n.Contains(addr.Unmap()) })
}

// Closed reports whether the route has no secret by mistake: its webhooks can't be
// verified, and nobody has said that they need not be.
func (r *Route) Closed() bool { return len(r.Secrets) == 0 && !r.Unverified }

// Pattern is the path as it is written in the settings: "/hooks/*".
func (r *Route) Pattern() string {
	if r.Prefix {
		return r.Path + "*"
	}
	return r.Path
}

// String is the route without its secrets.
func (r Route) String() string { return r.Pattern() + "=" + r.Name }

// GoString is String, so that %#v does not print the secrets.
func (r Route) GoString() string { return r.String() }

// Options are what the routes depend on beside their own text.
type Options struct {
	Secret     func(variable string) string               // the secret that a variable holds, "" for none
	SecretFile func(path string) (text string, err error) // the secret in a file
	// AllowUnverified makes every route without a secret unverified on purpose.
	AllowUnverified bool
	// Close accepts a route without a secret as closed. Without it such a route is
	// an error.
	Close bool
}

var names = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`)

const nameRule = "must be up to 63 of a-z, 0-9, _ and -, beginning with a letter or a digit"

// set is the routes read so far.
type set struct {
	Options
	routes    []Route
	problems  []error
	variables map[string]read
}

// add checks a route against those before it and adds it.
func (s *set) add(r Route) error {
	for _, other := range s.routes {
		switch {
		case other.Pattern() == r.Pattern():
			return errors.New("must not repeat a path")
		case other.Name == r.Name && other.Sender.Traits().Name != r.Sender.Traits().Name:
			return fmt.Errorf("name must be another one; %q is the name of a route of the sender %s", r.Name, other.Sender.Traits().Name)
		}
	}
	s.routes = append(s.routes, r)
	return nil
}

// setPath checks a path and divides it from its *.
func (r *Route) setPath(path string) error {
	if len(path) == 0 || path[0] != '/' {
		return errors.New("path must begin with /")
	}
	if IsDrain(path) {
		return errors.New("must not be /drain, which only the sidecar may request")
	}
	r.Path = path
	if n := len(path) - 1; path[n] == '*' {
		r.Path, r.Prefix = path[:n], true
	}
	for _, c := range r.Path {
		if c == '*' {
			return errors.New("must have * only at the end of the path")
		}
	}
	return nil
}

func (r *Route) setStatus(n int) error {
	if n != 200 && n != 202 && n != 204 {
		return fmt.Errorf("status must be 200, 202 or 204; it is %d", n)
	}
	r.Status = n
	return nil
}
