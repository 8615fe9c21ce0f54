package request

import "strings"

// Capture builds a head from a request's fields as they are read. Begin it,
// hand it each field in order, finish it.
type Capture struct {
	head        Head
	drop        []string // named by Connection: for that connection only
	forwarded   string   // X-Forwarded-For so far
	proto, host bool     // X-Forwarded-Proto and -Host are there
	authority   string
}

// Begin starts a capture. connection are the values of the request's Connection
// fields, which name further fields that end at this hop.
func Begin(method, uri, host string, connection []string) *Capture {
	c := &Capture{head: NewHead(method, uri, host), authority: host}
	for _, value := range connection {
		for token := range strings.SplitSeq(value, ",") {
			if token = strings.TrimSpace(token); token != "" && !strings.EqualFold(token, "close") && !strings.EqualFold(token, "keep-alive") {
				c.drop = append(c.drop, token)
			}
		}
	}
	return c
}

// Field takes the next field; what ends at this hop or bears Sluice's own name
// is left out.
func (c *Capture) Field(name, value string) {
	if Stripped(name) || equalFold(name, "host") {
		return
	}
	for _, d := range c.drop {
		if strings.EqualFold(d, name) {
			return
		}
	}
	if forwarded(name) {
		switch kind := name[len(forwardedPrefix):]; {
		case equalFold(kind, "for"):
			if c.forwarded != "" {
				c.forwarded += ", "
			}
			c.forwarded += value
			return
		case equalFold(kind, "proto"):
			c.proto = true
		case equalFold(kind, "host"):
			c.host = true
		}
	}
	c.head = c.head.Add(name, value)
}

const forwardedPrefix = "x-forwarded-"

func forwarded[T string | []byte](name T) bool {
	return len(name) > len(forwardedPrefix) && equalFold(name[:len(forwardedPrefix)], forwardedPrefix)
}

// Line takes the next field as the line it was received as, without its end.
// name is the part before the colon.
func (c *Capture) Line(name, line []byte) {
	if len(c.drop) > 0 || forwarded(name) {
		c.Field(string(name), strings.TrimSpace(string(line[len(name)+1:])))
		return
	}
	if Stripped(name) || equalFold(name, "host") {
		return
	}
	c.head = append(append(c.head, line...), '\r', '\n')
}

// Finish returns the head with X-Forwarded-For extended by the peer's address
// and X-Forwarded-Proto and -Host set where nobody before has set them.
func (c *Capture) Finish(peer string) Head {
	switch {
	case c.forwarded == "":
		c.forwarded = peer
	case peer != "":
		c.forwarded += ", " + peer
	}
	h := c.head
	if c.forwarded != "" {
		h = h.Add("X-Forwarded-For", c.forwarded)
	}
	if !c.proto {
		h = h.Add("X-Forwarded-Proto", "http")
	}
	if !c.host {
		h = h.Add("X-Forwarded-Host", c.authority)
	}
	return h
}

// URL returns the address that the sender used, as far as those before this
// process have told it.
func (h Head) URL() string {
	scheme, _ := h.first("X-Forwarded-Proto")
	if len(scheme) == 0 {
		scheme = []byte("http")
	}
	host, _ := h.first("X-Forwarded-Host")
	if len(host) == 0 {
		host, _ = h.first("Host")
	}
	u := make([]byte, 0, 256)
	u = append(append(append(u, scheme...), "://"...), host...)
	return string(append(u, h.uri()...))
}
