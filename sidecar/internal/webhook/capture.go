package webhook

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
	if Stripped(name) || len(name) == 4 && strings.EqualFold(name, "host") {
		return
	}
	for _, d := range c.drop {
		if strings.EqualFold(d, name) {
			return
		}
	}
	if len(name) > 12 && (name[0] == 'X' || name[0] == 'x') && strings.EqualFold(name[:12], "x-forwarded-") {
		switch strings.ToLower(name[12:]) {
		case "for":
			if c.forwarded != "" {
				c.forwarded += ", "
			}
			c.forwarded += value
			return
		case "proto":
			c.proto = true
		case "host":
			c.host = true
		}
	}
	c.head = c.head.Add(name, value)
}

// Line takes the next field as the line it was received as, without its end.
// name is the part before the colon.
func (c *Capture) Line(name, line []byte) {
	if len(c.drop) > 0 || len(name) > 12 && (name[0] == 'X' || name[0] == 'x') {
		c.Field(string(name), strings.TrimSpace(string(line[len(name)+1:])))
		return
	}
	if Stripped(string(name)) || len(name) == 4 && equalFold(name, "host") {
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
	scheme, host := h.Get("X-Forwarded-Proto"), h.Get("X-Forwarded-Host")
	if scheme == "" {
		scheme = "http"
	}
	if host == "" {
		host = h.Get("Host")
	}
	return scheme + "://" + host + h.URI()
}
