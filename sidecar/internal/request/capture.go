package request

import "strings"

// Capture builds a head from a request's fields as they are read: call Begin, then
// Field or Line for each field in order, then Finish.
type Capture struct {
	head        Head
	drop        []string // fields named by Connection, which end at this hop
	forwarded   string   // X-Forwarded-For so far
	proto, host bool     // X-Forwarded-Proto and -Host have been received
	authority   []byte   // the Host field's value, within head
}

// Begin starts a capture. It returns a value so that it need not allocate.
// connection has the values of the request's Connection
// fields, which name further fields that end at this hop.
func Begin[T string | []byte](method string, uri, host T, connection []string) Capture {
	c := Capture{head: NewHead(method, uri, host)}
	c.authority = c.head[len(c.head)-len("\r\n")-len(host) : len(c.head)-len("\r\n")]
	for _, value := range connection {
		for token := range strings.SplitSeq(value, ",") {
			if token = strings.TrimSpace(token); token != "" && !strings.EqualFold(token, "close") && !strings.EqualFold(token, "keep-alive") {
				c.drop = append(c.drop, token)
			}
		}
	}
	return c
}

// Field adds the next field. It leaves out fields that end at this hop and those
// with one of Sluice's own names.
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

// Line adds the next field, given as the received line without its end. name is the
// part before the colon.
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

// Finish returns the head. It appends the peer's address to X-Forwarded-For, and
// sets X-Forwarded-Proto and -Host when they were not received.
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
		h = append(append(append(h, "X-Forwarded-Host: "...), c.authority...), '\r', '\n')
	}
	return h
}

// URL returns the address that the sender used, as far as the X-Forwarded fields
// tell it.
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
