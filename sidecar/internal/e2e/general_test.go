package e2e

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/websocket"

	"sluice/infra/testkit"
)

// general returns a sidecar before an app that serves what is no webhook.
func general(t *testing.T, mux http.Handler, more ...env) (*sidecar, *app) {
	t.Helper()
	db, a := newDatabase(t), runningApp(t)
	a.serves(mux)
	return passing(t, db, a, more...), a
}

// What is flushed arrives before the next part is written, in both directions.
func TestStreaming(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	acknowledged := make(chan struct{})
	mux.HandleFunc("/events", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for i := range 5 {
			fmt.Fprintf(w, "data: %d\n\n", i)
			w.(http.Flusher).Flush()
			select {
			case <-acknowledged:
			case <-r.Context().Done():
				return
			}
		}
	})
	mux.HandleFunc("/stream", func(w http.ResponseWriter, _ *http.Request) {
		for i := range 5 { // no event stream, no length: flushed all the same
			fmt.Fprintf(w, "data: %d\n\n", i)
			w.(http.Flusher).Flush()
			<-acknowledged
		}
	})
	gone := make(chan struct{})
	mux.HandleFunc("/until-gone", func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		<-r.Context().Done()
		close(gone)
	})
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		http.NewResponseController(w).EnableFullDuplex()
		w.WriteHeader(200)
		w.(http.Flusher).Flush()
		buf := make([]byte, 100)
		for {
			n, err := r.Body.Read(buf)
			w.Write(buf[:n])
			w.(http.Flusher).Flush()
			if err != nil {
				return
			}
		}
	})
	s, _ := general(t, mux)
	for _, path := range []string{"/events", "/stream"} {
		resp, err := client.Get(s.url + path)
		if err != nil {
			t.Fatal(err)
		}
		br := bufio.NewReader(resp.Body)
		for i := range 5 {
			line, err := br.ReadString('\n')
			if err != nil || line != fmt.Sprintf("data: %d\n", i) {
				t.Fatalf("%s: event %d is %q (%v)", path, i, line, err)
			}
			br.ReadString('\n')
			acknowledged <- struct{}{}
		}
		resp.Body.Close()
	}
	ctx, leave := context.WithCancel(t.Context())
	req, _ := http.NewRequestWithContext(ctx, "GET", s.url+"/until-gone", nil)
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	leave()
	resp.Body.Close()
	select {
	case <-gone:
	case <-time.After(testkit.Patience):
		t.Error("the app is not told that the client has gone")
	}
	// Both ways at once, piece by piece, as HTTP/2 can.
	upward, pieces := io.Pipe()
	defer pieces.Close()
	h2c := overH2C(t)
	resp, err = h2c.Post(s.url+"/echo", "application/octet-stream", upward)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	for i := range 5 {
		piece := fmt.Sprintf("piece %d", i)
		go io.WriteString(pieces, piece)
		got := make([]byte, len(piece))
		if _, err := io.ReadFull(resp.Body, got); err != nil || string(got) != piece {
			t.Fatalf("echo %d is %q (%v)", i, got, err)
		}
	}
	pieces.Close()
}

// overH2C returns a client that speaks only HTTP/2, without TLS.
func overH2C(t *testing.T) *http.Client {
	var p http.Protocols
	p.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: &p}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: testkit.Patience}
}

func TestWebSocket(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	mux.Handle("/ws", websocket.Handler(func(ws *websocket.Conn) { io.Copy(ws, ws) }))
	s, a := general(t, mux)
	ws, err := websocket.Dial("ws://"+s.addr+"/ws", "", "http://"+s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer ws.Close()
	ws.SetDeadline(time.Now().Add(testkit.Patience))
	for _, size := range []int{1, 125, 126, 70000, 2 << 20} {
		message := noise(3, size)
		go websocket.Message.Send(ws, message)
		got := make([]byte, size)
		if _, err := io.ReadFull(ws, got); err != nil || !bytes.Equal(got, message) {
			t.Fatalf("message of %d bytes came back with %d (%v)", size, len(got), err)
		}
	}
	// The connection stays while webhooks are held for another reason, and ends with the app.
	a.does(always(503))
	s.mustHold("/hooks/x", "{}")
	if _, err := ws.Write([]byte("still")); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 5)
	if _, err := io.ReadFull(ws, got); err != nil {
		t.Fatal(err)
	}
}

// h2c comes in as HTTP/2 and gRPC goes on as HTTP/2, with its trailers.
func TestH2C(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	mux.HandleFunc("/grpc.Service/Call", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "application/grpc")
		w.Header().Set("Trailer", "Grpc-Status, Grpc-Message")
		w.Header().Set("X-Proto", r.Proto)
		w.Header().Set("X-Te", r.Header.Get("Te"))
		w.Header().Set("X-Sluice", r.Header.Get("Sluice-Verified"))
		w.Write(body)
		w.(http.Flusher).Flush()
		w.Header().Set("Grpc-Status", "0")
		w.Header().Set("Grpc-Message", "fine")
	})
	mux.HandleFunc("/plain", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-End")
		fmt.Fprint(w, r.Proto)
		w.Header().Set("X-End", "there")
	})
	s, a := general(t, mux)
	h2c := overH2C(t)
	req, _ := http.NewRequest("POST", s.url+"/grpc.Service/Call", strings.NewReader("\x00\x00\x00\x00\x02hi"))
	req.Header.Set("Content-Type", "application/grpc+proto")
	req.Header.Set("TE", "trailers")
	req.Header.Set("Sluice-Verified", "forged")
	resp, err := h2c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil || string(body) != "\x00\x00\x00\x00\x02hi" || resp.Proto != "HTTP/2.0" || resp.Header.Get("X-Proto") != "HTTP/2.0" {
		t.Errorf("%s, %s at the app, body %q (%v)", resp.Proto, resp.Header.Get("X-Proto"), body, err)
	}
	if resp.Trailer.Get("Grpc-Status") != "0" || resp.Trailer.Get("Grpc-Message") != "fine" || resp.Header.Get("X-Te") != "trailers" {
		t.Errorf("trailers %v, TE %q", resp.Trailer, resp.Header.Get("X-Te"))
	}
	if resp.Header.Get("X-Sluice") != "" {
		t.Error("a forged Sluice field went on")
	}
	for name, c := range map[string]*http.Client{"h2c": h2c, "http/1.1": client} {
		resp, err := c.Get(s.url + "/plain")
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if resp.Trailer.Get("X-End") != "there" {
			t.Errorf("%s: trailers are %v", name, resp.Trailer)
		}
	}
	// Webhooks may come that way as well, and be held.
	for _, held := range []bool{false, true} {
		if held {
			a.stop()
		}
		req, _ := http.NewRequest("POST", s.url+"/hooks/h2?x=%2F", strings.NewReader("{}"))
		req.Header["X-Twice"] = []string{"a", "b"}
		resp, err := h2c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode/100 != 2 || (resp.Header.Get("Sluice-Status") == "held") != held {
			t.Errorf("webhook over h2c: %d held=%v, want held=%v", resp.StatusCode, !held, held)
		}
	}
	a.start()
	for _, d := range a.waitAccepted(2) {
		if d.uri != "/hooks/h2?x=%2F" || fmt.Sprint(d.header["X-Twice"]) != "[a b]" || d.size != 2 {
			t.Errorf("delivered %s %v with %d bytes", d.uri, d.header["X-Twice"], d.size)
		}
	}
}

// Everything else passes untouched: methods, bodies, statuses, big files.
func TestGeneralLane(t *testing.T) {
	t.Parallel()
	file := noise(9, 64<<20)
	s, a := general(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/file" {
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(file))
			return
		}
		sum := sha256.New()
		n, _ := io.Copy(sum, r.Body)
		w.Header().Set("X-Seen", fmt.Sprintf("%s %s %d %x", r.Method, r.RequestURI, n, sum.Sum(nil)[:4]))
		for _, name := range []string{"X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "Sluice-Id", "Sluice-Verified", "Accept-Encoding", "User-Agent"} {
			w.Header().Set("Got-"+name, strings.Join(r.Header[name], "|"))
		}
		w.Header().Set("Got-Host", r.Host)
		w.Header()["X-Twice"] = []string{"a", "b"}
		w.WriteHeader(http.StatusTeapot)
	}))

	resp, err := client.Get(s.url + "/file")
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.New()
	if n, err := io.Copy(sum, resp.Body); err != nil || n != int64(len(file)) || [32]byte(sum.Sum(nil)) != sha256.Sum256(file) {
		t.Errorf("download: %d bytes, not the file (%v)", n, err)
	}
	resp.Body.Close()
	if got := s.get("/file", "Range", "bytes=10-19"); got.status != 206 || got.body != string(file[10:20]) {
		t.Errorf("range: %d %q", got.status, got.body)
	}
	head, _ := http.NewRequest("HEAD", s.url+"/file", nil)
	if got := do(head); got.status != 200 || got.header.Get("Content-Length") != fmt.Sprint(len(file)) || got.body != "" {
		t.Errorf("HEAD: %d, length %s", got.status, got.header.Get("Content-Length"))
	}
	// An upload is not bounded by MAX_BODY_BYTES: it is no webhook.
	put, _ := http.NewRequest("PUT", s.url+"/up?a=%2F&b", bytes.NewReader(file))
	want := fmt.Sprintf("PUT /up?a=%%2F&b %d %x", len(file), sha256.Sum256(file))
	if got := do(put, "Sluice-Id", "forged", "sluice-verified", "github", "X-Forwarded-For", "203.0.113.7", "X-Forwarded-Proto", "https", "Accept-Encoding", "br"); got.status != 418 || !strings.HasPrefix(want, got.header.Get("X-Seen")) {
		t.Errorf("PUT: %d %q, want %.60q", got.status, got.header.Get("X-Seen"), want)
	} else {
		for name, want := range map[string]string{
			"X-Forwarded-For": "203.0.113.7, 127.0.0.1", "X-Forwarded-Proto": "https", "X-Forwarded-Host": s.addr,
			"Sluice-Id": "", "Sluice-Verified": "", "Accept-Encoding": "br", "Host": s.addr,
		} {
			if v := got.header.Get("Got-" + name); v != want {
				t.Errorf("%s is %q at the app, want %q", name, v, want)
			}
		}
		if fmt.Sprint(got.header["X-Twice"]) != "[a b]" {
			t.Errorf("answer's fields: %v", got.header["X-Twice"])
		}
	}
	for _, method := range []string{"GET", "DELETE", "PATCH", "OPTIONS", "PURGE"} {
		for _, path := range []string{"/a//b/../c;d?x=%zz&y;z=1&&", "/hooks/x", "/webhooks/github"} {
			got := s.raw(method + " " + path + " HTTP/1.1\r\nHost: h\r\n\r\n")
			if got.status != 418 || !strings.HasPrefix(got.header.Get("X-Seen"), method+" "+path+" ") {
				t.Errorf("%s %s: %d %q", method, path, got.status, got.header.Get("X-Seen"))
			}
		}
	}
	a.stop()
	for _, path := range []string{"/", "/readiness", "/file", "/hooks/x"} {
		if got := s.get(path); got.status != 503 || got.header.Get("Retry-After") == "" {
			t.Errorf("%s with the app away: %d", path, got.status)
		}
	}
	if got := s.post("/form", "a=b"); got.status != 503 {
		t.Errorf("POST to no webhook with the app away: %d", got.status)
	}
}

// When the app breaks off its answer, so does the sidecar: the client must not take
// it for whole.
func TestAnswerCutShort(t *testing.T) {
	t.Parallel()
	cut := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		io.WriteString(w, "part")
		w.(http.Flusher).Flush()
		c, _, _ := w.(http.Hijacker).Hijack()
		c.Close()
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/cut", cut)
	mux.HandleFunc("/reset", func(w http.ResponseWriter, _ *http.Request) { breakOff(w) })
	s, a := general(t, mux)
	a.does(func(w http.ResponseWriter, r *http.Request, _ delivery) int { cut(w, r); return 0 })
	if got := s.get("/cut"); got.err == nil {
		t.Errorf("general lane: %d %q without an error", got.status, got.body)
	}
	if got := s.get("/reset"); got.status != 502 {
		t.Errorf("general lane, reset: %d", got.status)
	}
	if got := s.post("/hooks/x", "{}"); got.err == nil {
		t.Errorf("webhook lane: %d %q without an error", got.status, got.body)
	}
	if got := s.raw("POST /hooks/x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"); got.err == nil {
		t.Errorf("webhook lane through net/http: %d %q without an error", got.status, got.body)
	}
	s.waitState("passing")
}

// The app's answers to webhooks go back as they are.
func TestAnswersToWebhooks(t *testing.T) {
	t.Parallel()
	big := strings.Repeat("answer ", 40000)
	s, a := general(t, http.NewServeMux())
	for _, c := range []struct {
		status int
		body   string
		flush  bool
	}{{200, "fine", false}, {202, "", false}, {204, "", false}, {201, big, false}, {200, big, true}, {200, "", true}, {301, "there", false}, {400, "bad", false}, {401, "no", false}, {404, "", false}, {410, "gone", false}, {429, "slower", false}, {500, "oops", true}, {501, "", false}} {
		a.does(func(w http.ResponseWriter, _ *http.Request, _ delivery) int {
			w.Header().Set("X-App", "yes")
			w.Header()["X-Twice"] = []string{"a", "b"}
			w.Header().Set("Location", "/elsewhere")
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(c.status)
			if c.flush {
				w.(http.Flusher).Flush()
			}
			io.WriteString(w, c.body)
			return 0
		})
		for _, framing := range []string{"Content-Length: 2\r\n\r\n{}", "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"} {
			got := s.raw("POST /hooks/x HTTP/1.1\r\nHost: h\r\n" + framing)
			if got.err != nil || got.status != c.status || got.body != c.body || got.header.Get("X-App") != "yes" ||
				fmt.Sprint(got.header["X-Twice"]) != "[a b]" || got.header.Get("Retry-After") != "7" || got.header.Get("Sluice-Id") == "" || got.held() {
				t.Errorf("%d: got %d with %d bytes %v (%v)", c.status, got.status, len(got.body), got.header, got.err)
			}
		}
	}
	// Early hints before the answer are passed over.
	a.does(func(w http.ResponseWriter, _ *http.Request, _ delivery) int {
		w.Header().Set("Link", "</x>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		return 200
	})
	s.mustPass("/hooks/x", "{}")
}
