package wire

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"sync/atomic"
)

// framing watches for a request that says its length in two ways, with
// Content-Length and with Transfer-Encoding. Whoever passed it on may have read
// it otherwise, and what follows it may be no request of theirs (RFC 9112, 6.3).
// net/http takes the transfer coding and forgets that there was a length, so the
// bytes are watched before it has them.
//
// It never misses one. Lines of a body may look like one: then a connection ends
// that might have gone on.
type framing struct {
	line  []byte // the beginning of the current line
	sized bool   // since the last empty line there was a Content-Length
	coded bool   // and a Transfer-Encoding
	twice atomic.Bool
}

const (
	sizedName = "content-length:"
	codedName = "transfer-encoding:"
)

// see takes the next bytes of the connection.
func (f *framing) see(p []byte) {
	for {
		part, rest, ended := bytes.Cut(p, []byte{'\n'})
		f.line = append(f.line, part[:min(len(part), len(codedName)-len(f.line))]...)
		if !ended {
			return
		}
		f.end()
		p = rest
	}
}

func (f *framing) end() {
	switch line := f.line; {
	case len(line) == 0, len(line) == 1 && line[0] == '\r':
		f.sized, f.coded = false, false
	case startsWith(line, sizedName):
		f.sized = true
	case startsWith(line, codedName):
		f.coded = true
	}
	f.line = f.line[:0]
	if f.sized && f.coded {
		f.twice.Store(true)
	}
}

func startsWith(line []byte, name string) bool {
	return len(line) >= len(name) && bytes.EqualFold(line[:len(name)], []byte(name))
}

// framedTwice reports whether a whole head has both fields.
func framedTwice(head []byte) bool {
	var f framing
	f.see(head)
	return f.twice.Load()
}

type framingKey struct{}

// withFraming makes a connection's framing known to its requests.
func withFraming(ctx context.Context, c net.Conn) context.Context {
	if r, ok := c.(*handedOver); ok {
		return context.WithValue(ctx, framingKey{}, &r.framing)
	}
	return ctx
}

// mustClose reports whether a request that net/http has read has to be the last
// one of its connection. In HTTP/1.0, which knows no transfer coding, net/http
// passes over one without a word.
func mustClose(r *http.Request) bool {
	if r.ProtoMajor > 1 {
		return false
	}
	f, ok := r.Context().Value(framingKey{}).(*framing)
	return r.ProtoMinor == 0 || len(r.TransferEncoding) > 0 && ok && f.twice.Load()
}

// lastAnswer ends the connection with the answer. It sets the field as late as
// that, since the proxy clears all fields with an interim answer of the app.
type lastAnswer struct{ http.ResponseWriter }

func (a lastAnswer) WriteHeader(status int) {
	if status >= 200 {
		a.Header().Set("Connection", "close")
	}
	a.ResponseWriter.WriteHeader(status)
}

func (a lastAnswer) Unwrap() http.ResponseWriter { return a.ResponseWriter }
