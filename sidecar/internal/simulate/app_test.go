package simulate

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/tidwall/gjson"
)

// mood is how an app answers, as rates of its requests.
type mood struct {
	name                                            string
	late, interim, busy, half, final, fails, resets float64
	sick                                            float64 // health answers that are slow or wrong
}

var moods = []mood{
	{name: "well"},
	{name: "late", late: 0.5},
	{name: "late with interim answers", interim: 0.5, late: 0.2},
	{name: "busy", busy: 0.5},
	{name: "breaking off", half: 0.5},
	{name: "refusing", final: 0.3},
	{name: "broken", final: 1},
	{name: "failing", fails: 0.6},
	{name: "resetting", resets: 0.5},
	{name: "sick", sick: 0.6},
	{name: "everything", late: 0.1, interim: 0.1, busy: 0.1, half: 0.1, final: 0.05, fails: 0.1, resets: 0.1, sick: 0.1},
}

// app is the container beside a sidecar. It may die and come back.
type app struct {
	world *world
	slot  *slot
	name  string
	addr  string

	mu      sync.Mutex
	mood    mood
	host    *host
	lives   int
	serving sync.WaitGroup
}

func (a *app) start() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.lives++
	h := newHost(a.world.seed, fmt.Sprintf("%s.%d", a.name, a.lives))
	l, err := a.world.net.listen(h, a.addr)
	if err != nil {
		return // it is up
	}
	a.host = h
	a.world.line.note(a.name, "the app is up")
	a.serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			a.serving.Go(func() { a.serve(h, c) })
		}
	})
}

func (a *app) stop() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.host != nil && !a.host.isDead() {
		a.world.line.note(a.name, "the app dies")
		a.host.kill(a.world.net)
	}
}

func (a *app) set(m mood) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.mood = m
	a.world.line.note(a.name, "the app's mood: %s", m.name)
}

func (a *app) current() mood {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.mood
}

// serve answers the requests of one connection.
func (a *app) serve(h *host, c net.Conn) {
	defer c.Close()
	br := bufio.NewReader(c)
	for n := 0; ; n++ {
		r, err := http.ReadRequest(br)
		if err != nil {
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		switch r.URL.Path {
		case "/healthz":
			a.health(c)
		case "/drain":
			reply(c, 404)
		default:
			if !a.webhook(h, c, r, gjson.GetBytes(body, "key").String()) {
				return
			}
		}
	}
}

func reply(c net.Conn, status int) bool {
	_, err := fmt.Fprintf(c, "HTTP/1.1 %d %s\r\nContent-Length: 2\r\n\r\nok", status, http.StatusText(status))
	return err == nil
}

func (a *app) health(c net.Conn) {
	d, m := a.world.dice("health/"+a.name), a.current()
	sleep(d.between(100*time.Microsecond, 2*time.Millisecond))
	if d.chance(m.sick) {
		if d.chance(0.5) {
			reply(c, 503)
			return
		}
		sleep(d.between(0, 4*time.Second))
	}
	reply(c, 200)
}

// webhook deals with one webhook, and reports whether the connection is good
// for another.
func (a *app) webhook(h *host, c net.Conn, r *http.Request, key string) bool {
	l, m := a.world.ledger, a.current()
	replayed := r.Header.Get("Sluice-Replayed") == "true"
	how := "live"
	if replayed {
		how = "replayed, attempt " + r.Header.Get("Sluice-Attempt")
	}
	l.arrives(key, a.name, how)
	if !a.world.last.Load() && newDice(a.world.seed, "poison/"+key).chance(a.world.plan.poison) {
		a.world.line.tell(a.name, key, "it ends the app and the sidecar")
		a.world.ending.Go(func() { a.slot.poisoned(a) })
		return false
	}
	d := newDice(a.world.seed, fmt.Sprint("try/", key, "/", a.world.nth(key)))
	sleep(d.between(200*time.Microsecond, 20*time.Millisecond))
	switch {
	case d.chance(m.interim):
		io.WriteString(c, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
		sleep(d.between(a.world.plan.budget/2, 3*a.world.plan.budget))
	case d.chance(m.late):
		sleep(d.between(a.world.plan.budget/2, 4*a.world.plan.budget))
		if d.chance(0.05) {
			sleep(d.between(0, 30*time.Second)) // beyond APP_ANSWER_TIMEOUT
		}
	}
	status := 200
	switch {
	case h.isDead():
		return false
	case d.chance(m.busy):
		status = 503
	case d.chance(m.final):
		status = 404
		l.refuses(key, a.name, status)
	case d.chance(m.fails):
		status = 500
	case d.chance(m.resets):
		if d.chance(0.5) {
			l.takes(key, a.name)
		}
		a.world.line.tell(a.name, key, "closes the connection without an answer")
		return false
	default:
		l.takes(key, a.name)
		if d.chance(m.half) {
			a.world.line.tell(a.name, key, "breaks off in the middle of its answer")
			whole := "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
			io.WriteString(c, whole[:1+d.below(len(whole)-1)])
			return false
		}
	}
	a.world.line.tell(a.name, key, "answers %d", status)
	return reply(c, status)
}

// dial is the sidecar's way to its app; what it writes is counted as tries.
func (a *app) dial(ctx context.Context, r *replica) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	c, err := a.world.net.dial(ctx, r.host, a.addr)
	if err != nil {
		return nil, err
	}
	c.(*conn).sent = func(p []byte) {
		if head, _, ok := strings.Cut(string(p), "\r\n\r\n"); ok && strings.Contains(head, "\r\nSluice-Id: ") {
			_, id, _ := strings.Cut(head, "\r\nIdempotency-Key: ")
			key, _, _ := strings.Cut(id, "\r\n")
			a.world.ledger.tried(key)
			if strings.Contains(head, "\r\nSluice-Replayed: true") {
				a.world.checkHolder(key, r)
			}
		}
	}
	return c, nil
}
