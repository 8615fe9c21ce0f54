package senders

import (
	"bytes"
	"fmt"
	"strings"
	"time"
)

// variant is something that people get wrong, put right.
type variant struct {
	hint    string
	request func(r *Request)
	secret  func(secret string) []string
	scheme  func(s *Scheme)
}

// hints says which variants would have made r verify.
func hints(s Sender, r Request, secrets []string, now time.Time) []string {
	var found []string
	if unchanged := (variant{}); unchanged.verifies(s, r, secrets, now) {
		return nil // it is not the signature that is wrong
	}
	for _, v := range variants() {
		if v.verifies(s, r, secrets, now) {
			found = append(found, v.hint)
		}
	}
	return found
}

func (v *variant) verifies(s Sender, r Request, secrets []string, now time.Time) bool {
	r.Body = bytes.Clone(r.Body)
	if v.request != nil {
		v.request(&r)
	}
	if v.secret != nil {
		var others []string
		for _, secret := range secrets {
			for _, other := range v.secret(secret) {
				if other != "" && other != secret {
					others = append(others, other)
				}
			}
		}
		secrets = others
	}
	d := schemeOf(s)
	if d == nil {
		return v.scheme == nil && len(secrets) > 0 && s.Verify(r, secrets, now) == nil
	}
	if v.scheme != nil {
		changed := d.scheme
		v.scheme(&changed)
		other, err := changed.Compile("variant")
		if err != nil || d.token {
			return false
		}
		d = schemeOf(other)
	}
	if d.token {
		return d.verifyToken(&r, secrets) == nil
	}
	for _, secret := range secrets {
		if d.signed(r, secret) {
			return true
		}
	}
	return false
}

func variants() []variant {
	body := func(hint string, f func(b []byte) []byte) variant {
		return variant{hint: "the signature is that of the body " + hint, request: func(r *Request) { r.Body = f(r.Body) }}
	}
	all := []variant{
		body("without the line break at its end: save it byte for byte", func(b []byte) []byte { return bytes.TrimRight(b, "\r\n") }),
		body("with a line feed at its end", func(b []byte) []byte { return append(b, '\n') }),
		body("with CR LF at its end", func(b []byte) []byte { return append(b, '\r', '\n') }),
		body("with LF in place of CR LF", func(b []byte) []byte { return bytes.ReplaceAll(b, []byte("\r\n"), []byte("\n")) }),
		body("with CR LF in place of LF", func(b []byte) []byte { return bytes.ReplaceAll(b, []byte("\n"), []byte("\r\n")) }),
		{hint: "the secret has white space or quotes around it that do not belong to it", secret: func(secret string) []string { return []string{strings.Trim(secret, " \t\r\n\"'")} }},
		{hint: "the secret is a list with commas, of which one is right: give each a variable of its own", secret: func(secret string) []string {
			pieces := strings.Split(secret, ",")
			for i := range pieces {
				pieces[i] = strings.TrimSpace(pieces[i])
			}
			return pieces
		}},
		{hint: "the secret is right without what is before its first _: set key_prefix", secret: func(secret string) []string {
			_, rest, _ := strings.Cut(secret, "_")
			return []string{rest}
		}},
		{hint: "the URL is right with https in place of http: X-Forwarded-Proto is missing", request: func(r *Request) { r.URL = strings.Replace(r.URL, "http:", "https:", 1) }},
		{hint: "the URL is right without its query: set url", request: func(r *Request) { r.URL, _, _ = strings.Cut(r.URL, "?") }},
		{hint: "the URL is right with a slash at its end: set url", request: func(r *Request) { r.URL += "/" }},
	}
	for _, form := range []string{"raw", "hex", "base64"} {
		all = append(all, variant{hint: "the key is right as " + form + ": set key", scheme: func(s *Scheme) { s.Key = form }})
	}
	for _, encoding := range []string{"hex", "base64", "base64url"} {
		all = append(all, variant{hint: "the signature is right in " + encoding + ": set encoding", scheme: func(s *Scheme) { s.Encoding = encoding }})
	}
	for _, mac := range []string{"hmac-sha1", "hmac-sha256", "hmac-sha512"} {
		all = append(all, variant{hint: "the signature is right with " + mac + ": set mac", scheme: func(s *Scheme) { s.MAC = mac }})
	}
	for _, base := range []string{"{body}", "{timestamp}{body}", "{timestamp}.{body}", "{timestamp}:{body}", "{body}{timestamp}", "{url}{body}", "{id}.{timestamp}.{body}"} {
		all = append(all, variant{hint: fmt.Sprintf("the signature is right over %s: set base", base), scheme: func(s *Scheme) { s.Base = base }})
	}
	return all
}
