package routes

import (
	"fmt"
	"strings"

	"sluice/sidecar/senders"
)

// minSecret is the least number of bytes of a secret: a shorter one is a piece of a
// secret that has a comma in it, or can be guessed.
const minSecret = 8

// maxSecrets bounds NAME_2, NAME_3 and so on.
const maxSecrets = 9

// read are the secrets of one variable.
type read struct {
	secrets []string
	ok      bool
}

// secure gives a route of the short form its secrets.
func (s *set) secure(r *Route) error {
	traits := r.Sender.Traits()
	if r.Unverified {
		return nil
	}
	ok := true
	if traits.SecretVar != "" {
		r.Secrets, ok = s.secretsIn(traits.SecretVar)
	}
	r.HandshakeSecrets = r.Secrets
	if traits.HandshakeVar != "" {
		var valid bool
		r.HandshakeSecrets, valid = s.secretsIn(traits.HandshakeVar)
		ok = ok && valid
	}
	if !ok { // told already
		return nil
	}
	return s.settle(r, func() error { return unsecured(traits) })
}

// settle decides about a route that may have no secret.
func (s *set) settle(r *Route, problem func() error) error {
	if !r.Closed() {
		return nil
	}
	r.Unverified = s.AllowUnverified
	if r.Closed() && !s.Close {
		return problem()
	}
	return nil
}

func unsecured(t senders.Traits) error {
	const otherwise = "or say +unverified; ALLOW_UNVERIFIED=true says it for every route"
	if t.SecretVar == "" {
		return fmt.Errorf("must say how it is verified, as in %s:HEADER:VARIABLE, %s", t.Name, otherwise)
	}
	return fmt.Errorf("must have a secret: set %s, %s", t.SecretVar, otherwise)
}

// secretsIn returns the secrets in the variable, cut at its commas, and those in
// NAME_2, NAME_3 and so on, which are not cut. It returns false when one of them is
// refused, which it has then added to the problems.
func (s *set) secretsIn(variable string) (all []string, ok bool) {
	if known, again := s.variables[variable]; again {
		return known.secrets, known.ok // each problem is told once
	}
	ok = true
	all = Secrets(s.Secret(variable))
	for i, secret := range all {
		if len(secret) < minSecret {
			s.refuse(variable, i, len(all))
			ok = false
			break
		}
	}
	for n := 2; n <= maxSecrets; n++ {
		name := fmt.Sprintf("%s_%d", variable, n)
		secret := s.Secret(name)
		if secret == "" {
			break
		}
		if len(secret) < minSecret {
			s.problems = append(s.problems, fmt.Errorf("%s: must have at least %d bytes; its value is not shown", name, minSecret))
			ok = false
		}
		all = append(all, secret)
	}
	s.variables[variable] = read{all, ok}
	return all, ok
}

func (s *set) refuse(variable string, i, of int) {
	what := "the secret"
	if of > 1 {
		what = fmt.Sprintf("part %d of %d, cut at the commas,", i+1, of)
	}
	s.problems = append(s.problems, fmt.Errorf(
		"%s: %s must have at least %d bytes; put a second secret, or one with a comma in it, into %s_2, which is not cut",
		variable, what, minSecret, variable))
}

// Secrets splits a list of secrets at its commas; there are two while one replaces
// the other.
func Secrets(list string) []string {
	var found []string
	for s := range strings.SplitSeq(list, ",") {
		if s = strings.TrimSpace(s); s != "" {
			found = append(found, s)
		}
	}
	return found
}
