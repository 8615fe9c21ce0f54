package wire

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"sluice/sidecar/internal/request"
)

// netHandler serves the requests that net/http reads.
type netHandler struct{ *Server }

// ServeHTTP gives a request to its endpoint, or to the Handler when it has none.
func (s netHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer func() {
		if fault := recover(); fault != nil {
			if err, ok := fault.(error); !ok || !errors.Is(err, http.ErrAbortHandler) {
				s.logPanic(fault)
			}
			panic(http.ErrAbortHandler) // net/http ends the connection
		}
	}()
	if mustClose(r) {
		w = lastAnswer{w}
	}
	s.sayGoodbye(w)
	if endpoint := s.handler.Match(r.Method, r.URL.Path, ReceivedPath(r)); endpoint != nil {
		s.serveWhole(w, r, endpoint)
		return
	}
	s.handler.ServeHTTP(w, r)
}

// sayGoodbye ends the connection with this answer while the replica drains; over
// HTTP/2 net/http sends GOAWAY for it. A balancer that keeps connections open would
// otherwise go on sending, and the quiet that the drain waits for never came.
func (s *Server) sayGoodbye(w http.ResponseWriter) {
	if s.Draining() {
		w.Header().Set("Connection", "close")
	}
}

// ReceivedPath returns the path of the request target as it was received, still
// encoded, which is how the app gets it.
func ReceivedPath(r *http.Request) string {
	path, _, _ := strings.Cut(r.RequestURI, "?")
	if !strings.HasPrefix(path, "/") { // in absolute form
		return r.URL.EscapedPath()
	}
	return path
}

// serveWhole reads a request, calls the endpoint and writes its reply.
func (s netHandler) serveWhole(w http.ResponseWriter, r *http.Request, endpoint Endpoint) {
	started := time.Now()
	head := Capture(r)
	if err := head.Check(); err != nil { // HTTP/2 lets a target with a space through
		refusal := endpoint.Refuse(fmt.Errorf("%w: %w", ErrMalformed, err))
		refusal.writeHTTP(w)
		return
	}
	rc := http.NewResponseController(w)
	b, err := s.readBody(r, rc, started)
	if err != nil {
		s.refuseBody(w, r, rc, endpoint.Refuse(err))
		return
	}
	defer b.free()
	rc.SetReadDeadline(time.Time{})
	answer := endpoint.Serve(r.Context(), head, b)
	defer answer.end()
	s.sayGoodbye(w)
	answer.writeHTTP(w)
	s.Metrics.Seconds.Observe(time.Since(started).Seconds())
}

// readBody reads a body in the same way as our own loop.
func (s netHandler) readBody(r *http.Request, rc *http.ResponseController, started time.Time) (*Body, error) {
	br := readers.Get().(*bufio.Reader)
	br.Reset(r.Body)
	defer func() {
		br.Reset(nil)
		readers.Put(br)
	}()
	p := newPace(rc, s.BodyMinRate, started.Add(s.BodyTimeout))
	return s.memory.read(r.Context(), br, &p, r.ContentLength, s.MaxBodyBytes)
}

// refuseBody answers a request whose body was not read to its end.
func (s netHandler) refuseBody(w http.ResponseWriter, r *http.Request, rc *http.ResponseController, refusal Reply) {
	w.Header().Set("Connection", "close")
	expects := r.Header.Get("Expect") != "" && r.ContentLength > s.MaxBodyBytes
	if r.ProtoMajor > 1 || expects { // the protocol stops the sender, or it has not begun to send the body
		refusal.writeHTTP(w)
		return
	}
	_ = rc.EnableFullDuplex() // HTTP/1.1 always can
	refusal.writeHTTP(w)
	rc.Flush()
	s.linger(r.Body, rc.SetReadDeadline)
}

// Capture takes a request's head from net/http, which keeps the order of the
// values of one name but not the order of different names.
func Capture(r *http.Request) request.Head {
	uri := r.RequestURI
	if uri == "" || uri[0] != '/' {
		uri = r.URL.RequestURI()
	}
	c := request.Begin(r.Method, uri, r.Host, r.Header["Connection"])
	names := make([]string, 0, len(r.Header))
	for name := range r.Header {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		for _, value := range r.Header[name] {
			c.Field(name, value)
		}
	}
	peer, _, _ := net.SplitHostPort(r.RemoteAddr)
	return c.Finish(peer)
}

// WriteHTTP writes the reply through net/http and ends it.
func (r *Reply) WriteHTTP(w http.ResponseWriter) {
	defer r.end()
	r.writeHTTP(w)
}

func (r *Reply) writeHTTP(w http.ResponseWriter) {
	h := w.Header()
	for fields := string(r.Fields); fields != ""; {
		var line string
		line, fields, _ = strings.Cut(fields, "\r\n")
		name, value, _ := strings.Cut(line, ":")
		h.Add(name, strings.TrimSpace(value))
	}
	bodyless := r.Status == http.StatusNoContent || r.Status == http.StatusNotModified
	if r.Relay == nil {
		if !bodyless {
			h.Set("Content-Length", strconv.Itoa(len(r.Body)))
		}
		w.WriteHeader(r.Status)
		w.Write(r.Body)
		return
	}
	if r.Length >= 0 && !bodyless {
		h.Set("Content-Length", strconv.FormatInt(r.Length, 10))
	}
	w.WriteHeader(r.Status)
	if _, err := io.Copy(w, r.Relay); err != nil {
		// The head is sent: only a broken connection tells the sender.
		panic(http.ErrAbortHandler)
	}
}
