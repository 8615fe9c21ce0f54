package e2e

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/infra/testkit"
)

const maxBody = 25 << 20 // MAX_BODY_BYTES by default

// noise returns n bytes, different ones for each seed.
func noise(seed uint64, n int) []byte {
	b := make([]byte, n)
	rng := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), 1})
	rng.Read(b)
	return b
}

// sendBody posts bytes, with a length or in chunks.
func (s *sidecar) sendBody(path string, body []byte, chunked bool) answer {
	var r io.Reader = bytes.NewReader(body)
	if chunked {
		r = struct{ io.Reader }{r}
	}
	req, err := http.NewRequest(http.MethodPost, s.url+path, r)
	if err != nil {
		return answer{err: err}
	}
	return do(req)
}

// The largest body goes through, byte for byte, at once and through the queue;
// one byte more is refused.
func TestLargestBody(t *testing.T) {
	t.Parallel()
	db, a := newDatabase(t), runningApp(t)
	s := passing(t, db, a)
	largest := noise(1, maxBody)
	sum := sha256.Sum256(largest)
	for _, way := range []string{"passed", "held"} {
		if way == "held" {
			a.stop()
		}
		for _, chunked := range []bool{false, true} {
			got := s.sendBody("/hooks/large", largest, chunked)
			if !got.acknowledged() || got.held() != (way == "held") {
				t.Fatalf("%s, chunked=%v: %d %q held=%v (%v)", way, chunked, got.status, got.body, got.held(), got.err)
			}
			over := s.sendBody("/hooks/large", append(largest, 'x'), chunked)
			if over.status != http.StatusRequestEntityTooLarge {
				t.Errorf("%s, chunked=%v: one byte more got %d %q (%v)", way, chunked, over.status, over.body, over.err)
			}
		}
	}
	a.start()
	for i, d := range a.waitAccepted(4) {
		if d.size != maxBody || d.sum != sum {
			t.Errorf("delivery %d: %d bytes, not as sent", i, d.size)
		}
	}
	if n := len(a.deliveries()); n != 4 {
		t.Errorf("%d requests reached the app, want 4", n)
	}
}

// Every size at which a body is treated differently (pooled, batched, sliced).
func TestBodySizes(t *testing.T) {
	t.Parallel()
	db, a := newDatabase(t), runningApp(t)
	s := passing(t, db, a)
	sizes := []int{0, 1, 4095, 4096, 16<<10 - 1, 16 << 10, 16<<10 + 1, 64 << 10, 256 << 10, 256<<10 + 1, 1<<20 - 1, 1 << 20, 2 << 20, 5<<20 + 3}
	want := 0
	for _, way := range []string{"passed", "held"} {
		if way == "held" {
			a.stop()
		}
		for i, n := range sizes {
			for _, chunked := range []bool{false, true} {
				got := s.sendBody(fmt.Sprintf("/hooks/%s/%d", way, n), noise(uint64(i), n), chunked)
				if !got.acknowledged() || got.held() != (way == "held") {
					t.Fatalf("%s %d: %d %q (%v)", way, n, got.status, got.body, got.err)
				}
				want++
			}
		}
	}
	a.start()
	for _, d := range a.waitAccepted(want) {
		var n int
		fmt.Sscan(d.uri[strings.LastIndexByte(d.uri, '/')+1:], &n)
		for i := range sizes {
			if sizes[i] == n && d.sum != sha256.Sum256(noise(uint64(i), n)) {
				t.Errorf("%s: %d bytes, not as sent", d.uri, d.size)
			}
		}
	}
}

// peak returns the most memory that the process has had, in bytes.
func (s *sidecar) peak() int64 {
	s.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.Cmd.Process.Pid))
	if err != nil {
		s.t.Skip("no /proc: ", err)
	}
	var kb int64
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			fmt.Sscan(rest, &kb)
		}
	}
	return kb << 10
}

// Two hundred 5 MB bodies at once stay within 256 MB: what does not fit gets 503
// with Retry-After, and what was acknowledged arrives.
func TestManyLargeBodiesAtOnce(t *testing.T) {
	for _, c := range []struct {
		name          string
		away, chunked bool
	}{{"app away", true, false}, {"app away, no lengths", true, true}, {"app slow", false, false}} {
		t.Run(c.name, func(t *testing.T) {
			db, a := newDatabase(t), runningApp(t)
			s := launch(t, testkit.PlainProgram(t, program), db.url, a)
			s.waitListening()
			s.waitState("passing")
			if c.away {
				a.stop()
			} else {
				a.does(func(_ http.ResponseWriter, r *http.Request, _ delivery) int {
					select {
					case <-time.After(500 * time.Millisecond):
					case <-r.Context().Done():
					}
					return 200
				})
			}
			const n, size = 200, 5 << 20
			body := noise(7, size)
			sum := sha256.Sum256(body)
			answers := make([]answer, n)
			var wg sync.WaitGroup
			for i := range n {
				wg.Go(func() { answers[i] = s.sendBody("/hooks/many", body, c.chunked) })
			}
			wg.Wait()
			acknowledged, refused, cut := 0, 0, 0
			for i, got := range answers {
				switch {
				case got.acknowledged():
					acknowledged++
				case got.status == 503 && got.header.Get("Retry-After") != "":
					refused++
				case got.status == 0 && got.err != nil:
					cut++ // it paused for too long after its refusal, as it may on a busy machine
				default:
					t.Errorf("sender %d: %d %q (%v)", i, got.status, got.body, got.err)
				}
			}
			if refused == 0 || cut > n/10 {
				t.Errorf("%d acknowledged, %d refused, %d cut off: the test proves nothing", acknowledged, refused, cut)
			}
			// A sender that tries again succeeds.
			testkit.Eventually(t, "one more is acknowledged", func() bool { return s.sendBody("/hooks/many", body, c.chunked).acknowledged() })
			acknowledged++
			a.does(always(200))
			if c.away {
				a.start()
			}
			for _, d := range a.waitAccepted(acknowledged) {
				if d.sum != sum {
					t.Errorf("delivered %d bytes, not as sent", d.size)
				}
			}
			peak := s.peak()
			t.Logf("%d acknowledged, %d refused, %d cut off, peak %d MB", acknowledged, refused, cut, peak>>20)
			if peak >= 256<<20 {
				t.Errorf("peak memory is %d MB, want under 256", peak>>20)
			}
		})
	}
}

// A sender that is refused while it still sends sees the answer, however long
// it takes to the end of its body.
func TestRefusedSlowSender(t *testing.T) {
	t.Parallel()
	db, a := newDatabase(t), runningApp(t)
	s := passing(t, db, a, env{"MAX_BODY_BYTES": "1000000"})
	for _, path := range []string{"/hooks/x", "/%68ooks/x"} { // the second is net/http's
		c := s.dial()
		io.WriteString(c, "POST "+path+" HTTP/1.1\r\nHost: h\r\nContent-Length: 2000000\r\n\r\n")
		tick := time.NewTicker(100 * time.Millisecond)
		for end := time.Now().Add(6 * time.Second); time.Now().Before(end); <-tick.C { // longer than it may be silent
			if _, err := io.WriteString(c, strings.Repeat("x", 1000)); err != nil {
				t.Fatalf("cut off while it sends: %v", err)
			}
		}
		tick.Stop()
		if got := readAnswer(bufio.NewReader(c)); got.status != http.StatusRequestEntityTooLarge {
			t.Errorf("%s: answered %d (%v)", path, got.status, got.err)
		}
	}
}

// Large bodies replayed in many lanes while as many more come in: both sides of
// the memory at once.
func TestLargeBodiesReplayedBesideNewOnes(t *testing.T) {
	db, a := newDatabase(t), runningApp(t)
	s := launch(t, testkit.PlainProgram(t, program), db.url, a)
	s.waitListening()
	s.waitState("passing")
	a.stop()
	pad := strings.Repeat("x", 5<<20)
	l := newLedger()
	var wg sync.WaitGroup
	send := func(lane string, n int) {
		for {
			got := s.post("/hooks/many", strings.TrimSuffix(numbered(lane, n), "}")+`,"pad":"`+pad+`"}`)
			if got.status != 503 {
				l.note(lane, n, got)
				return
			}
		}
	}
	const lanes, each = 8, 4
	for i := range lanes {
		wg.Go(func() {
			for n := range each {
				send(fmt.Sprint("lane", i), n)
			}
		})
	}
	wg.Wait()
	a.start()
	for i := range lanes {
		wg.Go(func() {
			for n := each; n < 2*each; n++ {
				send(fmt.Sprint("lane", i), n)
			}
		})
	}
	wg.Wait()
	if got := a.waitAccepted(2 * lanes * each); len(got) != 2*lanes*each {
		t.Errorf("%d deliveries, want %d", len(got), 2*lanes*each)
	}
	last := map[string]string{}
	for _, d := range a.accepted() {
		lane, key, _ := strings.Cut(strings.TrimPrefix(d.body, `{"lane":"`), `"`)
		if key = key[:6]; key <= last[lane] { // ,"n":0 and so on
			t.Errorf("OUT OF ORDER: lane %s: %s after %s", lane, key, last[lane])
		}
		last[lane] = key
	}
	if peak := s.peak(); peak >= 256<<20 {
		t.Errorf("peak memory is %d MB, want under 256", peak>>20)
	} else {
		t.Logf("peak %d MB", peak>>20)
	}
}
