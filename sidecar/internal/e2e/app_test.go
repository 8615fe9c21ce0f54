package e2e

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/infra/testkit"
)

// delivery is one request that reached the app.
type delivery struct {
	id, attempt, replayed string
	method, uri           string
	header                http.Header
	size                  int
	sum                   [32]byte
	body                  string // of small ones
	at                    time.Time
	status                int // what the app answered, 0 for a reset
}

// number reads {"lane": ..., "n": ...}, the body of webhooks whose order counts.
func (d delivery) number() (lane string, n int) {
	var v struct {
		Lane string `json:"lane"`
		N    int    `json:"n"`
	}
	if json.Unmarshal([]byte(d.body), &v) != nil {
		return "", -1
	}
	return v.Lane, v.N
}

// behaviour answers a webhook: with a status, with brokenOff, or by itself when
// it returns 0.
type behaviour func(w http.ResponseWriter, r *http.Request, d delivery) int

func always(status int) behaviour {
	return func(http.ResponseWriter, *http.Request, delivery) int { return status }
}

// brokenOff stands for a connection that is broken off without an answer.
const brokenOff = -1

func reset(http.ResponseWriter, *http.Request, delivery) int { return brokenOff }

func breakOff(w http.ResponseWriter) {
	c, _, err := w.(http.Hijacker).Hijack()
	if err == nil {
		c.(*net.TCPConn).SetLinger(0)
		c.Close()
	}
}

// app is a recording app behind the sidecar.
type app struct {
	t       testing.TB
	addr    string
	health  atomic.Int32        // status of /healthz
	drains  atomic.Int32        // POST /drain
	drained func(*http.Request) // called with each; may be nil
	busy    atomic.Int32        // webhooks that have arrived but are not recorded yet
	general atomic.Pointer[http.Handler]

	mu     sync.Mutex
	behave behaviour
	got    []delivery
	server *http.Server
}

// newApp returns an app that does not listen yet.
func newApp(t testing.TB) *app {
	a := &app{t: t, addr: testkit.Address(t), behave: always(http.StatusOK)}
	a.health.Store(http.StatusOK)
	t.Cleanup(a.stop)
	return a
}

// runningApp returns an app that listens and is healthy.
func runningApp(t testing.TB) *app {
	a := newApp(t)
	a.start()
	return a
}

// start opens the port.
func (a *app) start() {
	a.t.Helper()
	ln, err := net.Listen("tcp", a.addr)
	if err != nil {
		a.t.Fatal(err)
	}
	var both http.Protocols
	both.SetHTTP1(true)
	both.SetUnencryptedHTTP2(true)
	server := &http.Server{Handler: a, Protocols: &both, ReadHeaderTimeout: time.Minute}
	a.mu.Lock()
	a.server = server
	a.mu.Unlock()
	go server.Serve(ln)
}

// stop closes the port and every connection, as a crash does.
func (a *app) stop() {
	a.mu.Lock()
	server := a.server
	a.server = nil
	a.mu.Unlock()
	if server != nil {
		server.Close()
	}
}

// does sets how the app answers webhooks from now on.
func (a *app) does(b behaviour) {
	a.mu.Lock()
	a.behave = b
	a.mu.Unlock()
}

// serves sets how the app answers requests that are not webhooks.
func (a *app) serves(h http.Handler) { a.general.Store(&h) }

func (a *app) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path == "/healthz":
		w.WriteHeader(int(a.health.Load()))
		return
	case r.URL.Path == "/drain":
		a.drains.Add(1)
		if a.drained != nil {
			a.drained(r)
		}
		return
	case r.Header.Get("Sluice-Id") == "":
		if h := a.general.Load(); h != nil {
			(*h).ServeHTTP(w, r)
		}
		return
	}
	a.busy.Add(1)
	defer a.busy.Add(-1)
	d, err := record(r)
	if err != nil {
		return // the sidecar closed the connection: nothing was delivered
	}
	a.mu.Lock()
	behave := a.behave
	a.mu.Unlock()
	status := behave(w, r, d)
	d.status = max(status, 0)
	// Recorded before the sidecar can see the answer and act on it.
	a.mu.Lock()
	a.got = append(a.got, d)
	a.mu.Unlock()
	switch status {
	case 0:
	case brokenOff:
		breakOff(w)
	default:
		w.WriteHeader(status)
	}
}

func record(r *http.Request) (delivery, error) {
	d := delivery{
		id: r.Header.Get("Sluice-Id"), attempt: r.Header.Get("Sluice-Attempt"), replayed: r.Header.Get("Sluice-Replayed"),
		method: r.Method, uri: r.RequestURI, header: r.Header.Clone(), at: time.Now(),
	}
	sum := sha256.New()
	small := make([]byte, 0, 256)
	buf := make([]byte, 64<<10)
	for {
		n, err := r.Body.Read(buf)
		d.size += n
		sum.Write(buf[:n])
		small = append(small, buf[:min(n, cap(small)-len(small))]...)
		if err == io.EOF {
			break
		}
		if err != nil {
			return d, err
		}
	}
	d.sum, d.body = [32]byte(sum.Sum(nil)), string(small)
	return d, nil
}

// deliveries returns the webhooks that the app has answered, in order.
func (a *app) deliveries() []delivery {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.got)
}

// accepted returns the deliveries that the app answered with 2xx.
func (a *app) accepted() []delivery {
	return slices.DeleteFunc(a.deliveries(), func(d delivery) bool { return d.status/100 != 2 })
}

// of returns the deliveries of one webhook.
func (a *app) of(id string) []delivery {
	return slices.DeleteFunc(a.deliveries(), func(d delivery) bool { return d.id != id })
}

// waitAccepted waits until the app has taken n webhooks and returns them.
func (a *app) waitAccepted(n int) []delivery {
	a.t.Helper()
	if !testkit.Within(testkit.Patience, func() bool { return len(a.accepted()) >= n }) {
		a.t.Fatalf("the app has taken %d webhooks, want %d", len(a.accepted()), n)
	}
	return a.accepted()
}

// waitDeliveries waits until n requests have reached the app, whatever it
// answered.
func (a *app) waitDeliveries(n int) {
	a.t.Helper()
	testkit.Eventually(a.t, fmt.Sprintf("%d webhooks reach the app", n), func() bool { return len(a.deliveries()) >= n })
}

// numbered is the body of a webhook whose order counts.
func numbered(lane string, n int) string {
	return `{"lane":` + strconv.Quote(lane) + `,"n":` + strconv.Itoa(n) + `}`
}

// ledger records what senders were told of their numbered webhooks.
type ledger struct {
	mu           sync.Mutex
	acknowledged map[string][]int // by lane, in the order sent
	held         int
	refused      int             // 503 with Retry-After
	again        map[string]bool // those sent again, any of whose copies may have been stored
	odd          []string
}

func newLedger() *ledger { return &ledger{acknowledged: map[string][]int{}, again: map[string]bool{}} }

func (l *ledger) note(lane string, n int, a answer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case a.acknowledged():
		l.acknowledged[lane] = append(l.acknowledged[lane], n)
		if a.held() {
			l.held++
		}
	case a.err == nil && a.status == 503 && a.header.Get("Retry-After") != "":
		l.refused++
	default:
		l.odd = append(l.odd, fmt.Sprintf("%s %d: %d %q %v", lane, n, a.status, a.body, a.err))
	}
}

func (l *ledger) total() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, ns := range l.acknowledged {
		n += len(ns)
	}
	return n
}

// send posts numbered webhooks on a lane, each after the one before it was
// answered, until more returns false.
func (l *ledger) send(s *sidecar, path, lane string, more func(n int) bool) {
	for n := 0; more(n); n++ {
		l.note(lane, n, s.post(path, numbered(lane, n)))
	}
}

func upTo(n int) func(int) bool { return func(i int) bool { return i < n } }

// check waits until everything acknowledged has reached the app and fails the
// test when a lane's order is broken. It returns the number of duplicates.
func (l *ledger) check(t testing.TB, a *app) (duplicates int) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, odd := range l.odd {
		t.Errorf("neither acknowledged nor refused: %s", odd)
	}
	complete := func() bool { return len(l.missing(a)) == 0 }
	if !testkit.Within(testkit.Patience, complete) {
		missing := l.missing(a)
		t.Fatalf("LOST: %d acknowledged webhooks have not reached the app: %v", len(missing), missing[:min(10, len(missing))])
	}
	last := map[string]int{}
	seen := map[string]bool{}
	for _, d := range a.accepted() {
		lane, n := d.number()
		key := fmt.Sprint(lane, "/", n)
		if seen[key] {
			if !l.again[key] {
				duplicates++
			}
			continue
		}
		seen[key] = true
		if before, ok := last[lane]; ok && n < before && slices.Contains(l.acknowledged[lane], n) {
			t.Errorf("OUT OF ORDER: lane %s: %d came after %d", lane, n, before)
		}
		last[lane] = max(last[lane], n)
	}
	return duplicates
}

func (l *ledger) missing(a *app) (missing []string) {
	reached := map[string]bool{}
	for _, d := range a.accepted() {
		lane, n := d.number()
		reached[fmt.Sprint(lane, "/", n)] = true
	}
	for lane, ns := range l.acknowledged {
		for _, n := range ns {
			if key := fmt.Sprint(lane, "/", n); !reached[key] {
				missing = append(missing, key)
			}
		}
	}
	return missing
}

func sortByTime(ds []delivery) {
	slices.SortStableFunc(ds, func(a, b delivery) int { return a.at.Compare(b.at) })
}
