package wire

import (
	"bytes"

	"sluice/sidecar/internal/request"
)

// plainRequest is a plain request to an endpoint: a POST in HTTP/1.1 whose head
// has nothing that two parsers could read differently.
type plainRequest struct {
	endpoint Endpoint
	head     request.Head
	length   int64 // of the body
	close    bool  // the sender wants the connection closed
}

// parse reads a head. It returns false for everything that is not plain in every
// respect. net/http then reads the request, so the two parsers never have to agree
// on anything unusual.
func parse(head []byte, peer string, h Handler, maxBody int64) (q plainRequest, plain bool) {
	line, fields, ok := cutLine(head[:len(head)-2])
	if !ok {
		return q, false
	}
	target, ok := bytes.CutPrefix(line, []byte("POST "))
	if !ok {
		return q, false
	}
	if target, ok = bytes.CutSuffix(target, []byte(" HTTP/1.1")); !ok || !plainTarget(target) {
		return q, false
	}
	before, _, _ := bytes.Cut(target, []byte("?"))
	path := string(before) // nothing in it is escaped
	if q.endpoint = h.Match("POST", path, path); q.endpoint == nil {
		return q, false
	}
	host, ok := q.scan(fields)
	if !ok || q.length > maxBody {
		return q, false
	}
	c := request.Begin("POST", target, host, nil)
	for len(fields) > 0 {
		line, fields, _ = cutLine(fields)
		c.Line(line[:bytes.IndexByte(line, ':')], line)
	}
	q.head = c.Finish(peer)
	return q, true
}

// mayBePlain reports whether b can be the beginning of a POST.
func mayBePlain(b []byte) bool {
	const post = "POST /"
	n := min(len(b), len(post))
	return string(b[:n]) == post[:n]
}

// bareLF reports whether a line ends without CR: another parser may take that for
// the end of the head.
func bareLF(b []byte) bool {
	for {
		i := bytes.IndexByte(b, '\n')
		if i < 0 {
			return false
		}
		if i > 0 && b[i-1] != '\r' {
			return true
		}
		b = b[i+1:]
	}
}

// scan checks every field and reads Host, Content-Length and Connection.
func (q *plainRequest) scan(fields []byte) (host []byte, ok bool) {
	q.length = -1
	for len(fields) > 0 {
		var line []byte
		if line, fields, ok = cutLine(fields); !ok {
			return nil, false
		}
		colon := bytes.IndexByte(line, ':')
		if colon <= 0 || !request.IsToken(line[:colon]) || !plainValue(line[colon+1:]) {
			return nil, false
		}
		name, value := line[:colon], trimBlanks(line[colon+1:])
		switch len(name) {
		case 4:
			if bytes.EqualFold(name, []byte("host")) {
				if host != nil || len(value) == 0 || bytes.ContainsAny(value, " \t/?#@%") {
					return nil, false
				}
				host = value
			}
		case 14:
			if bytes.EqualFold(name, []byte("content-length")) {
				if q.length >= 0 || !q.setLength(value) {
					return nil, false
				}
			}
		case 10:
			if bytes.EqualFold(name, []byte("connection")) {
				q.close = q.close || bytes.EqualFold(value, []byte("close"))
				if !q.close && !bytes.EqualFold(value, []byte("keep-alive")) {
					return nil, false
				}
			}
		case 2, 6, 7, 17: // te, expect, trailer, upgrade, transfer-encoding
			if request.Stripped(name) {
				return nil, false
			}
		}
	}
	return host, host != nil && q.length >= 0
}

func (q *plainRequest) setLength(digits []byte) bool {
	if len(digits) == 0 || len(digits) > 12 {
		return false
	}
	q.length = 0
	for _, d := range digits {
		if d < '0' || d > '9' {
			return false
		}
		q.length = q.length*10 + int64(d-'0')
	}
	return true
}

// cutLine cuts the first line from b. It returns false when the line does not end
// in CRLF.
func cutLine(b []byte) (line, rest []byte, ok bool) {
	i := bytes.IndexByte(b, '\n')
	if i < 1 || b[i-1] != '\r' {
		return nil, nil, false
	}
	return b[:i-1], b[i+1:], true
}

func trimBlanks(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for n := len(b); n > 0 && (b[n-1] == ' ' || b[n-1] == '\t'); n-- {
		b = b[:n-1]
	}
	return b
}

// plainTarget reports whether t is an origin-form target that net/http would
// route by the very same bytes.
func plainTarget(t []byte) bool {
	if len(t) == 0 || t[0] != '/' {
		return false
	}
	path := true
	for _, b := range t {
		if b == '?' {
			path = false
		}
		if b <= ' ' || b >= 0x7f || b == '#' || path && b == '%' {
			return false
		}
	}
	return true
}

func plainValue(v []byte) bool {
	for _, b := range v {
		if b < ' ' && b != '\t' || b == 0x7f {
			return false
		}
	}
	return true
}
