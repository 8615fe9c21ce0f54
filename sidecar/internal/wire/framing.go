package wire

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"sync/atomic"
)

// framing detects a request that states its length twice, with Content-Length
// and with Transfer-Encoding. The proxy that passed it on may have used the other
// one, so what follows may have been smuggled in as a request (RFC 9112, 6.3).
// net/http uses the transfer coding and forgets that there was a length, so
// framing sees the bytes before net/http does.
//
// It never misses such a request. Lines of a body may look like one: then a
// connection is closed that could have stayed open.
type framing struct {
	line  []byte // the beginning of the current line
	sized bool   // a Content-Length came since the last empty line
	coded bool   // a Transfer-Encoding came since then
	twice atomic.Bool
}

const (
	sizedName = "content-length:"
	codedName = "transfer-encoding:"
)

// see reads the next bytes of the connection.
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

// withFraming puts a connection's framing into the context of its requests.
func withFraming(ctx context.Context, c net.Conn) context.Context {
	if r, ok := c.(*handedOver); ok {
		return context.WithValue(ctx, framingKey{}, &r.framing)
	}
	return ctx
}

// mustClose reports whether a request that net/http has read must be the last one
// of its connection. HTTP/1.0 has no transfer coding, and net/http ignores one
// there silently.
func mustClose(r *http.Request) bool {
	if r.ProtoMajor > 1 {
		return false
	}
	f, ok := r.Context().Value(framingKey{}).(*framing)
	return r.ProtoMinor == 0 || len(r.TransferEncoding) > 0 && ok && f.twice.Load()
}

// lastAnswer closes the connection after the answer. It sets the field only when
// the answer is written, because the proxy clears all fields when the app sends
// an interim answer.
type lastAnswer struct{ http.ResponseWriter }

func (a lastAnswer) WriteHeader(status int) {
	if status >= 200 {
		a.Header().Set("Connection", "close")
	}
	a.ResponseWriter.WriteHeader(status)
}

func (a lastAnswer) Unwrap() http.ResponseWriter { return a.ResponseWriter }
