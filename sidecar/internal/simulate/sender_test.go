package simulate

import (
	"bufio"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// sender sends the webhooks of one lane, one after another: the next when the
// last one was answered or is given up.
type sender struct {
	world *world
	name  string
	lane  string
	door  int // its slot; under ORDER=strict it goes to any
	host  *host
	dice  *dice
	conns map[string]*session
	n     int
}

// session is a kept-alive connection.
type session struct {
	net.Conn
	br *bufio.Reader
}

func (s *sender) run(until time.Time) {
	for time.Now().Before(until) {
		sleep(s.dice.between(0, 2*s.world.plan.gap))
		s.deliver(1 + s.dice.below(4))
	}
}

// deliver sends the next webhook, up to so many times, and reports whether it
// was acknowledged.
func (s *sender) deliver(tries int) bool {
	s.n++
	key := fmt.Sprintf("%s/%d", s.name, s.n)
	for try := range tries {
		if try > 0 {
			sleep(s.dice.between(100*time.Millisecond, 2*time.Second))
		}
		door := s.door
		if s.world.plan.strict {
			door = s.dice.below(len(s.world.slots))
		}
		if s.send(key, door) {
			return true
		}
	}
	return false
}

// send sends it once, and reports whether it was acknowledged.
func (s *sender) send(key string, door int) bool {
	r := s.world.slots[door].reached(s.dice)
	if r == nil {
		return false
	}
	s.world.ledger.send(key, "generic/"+s.lane, r.name)
	status, held, err := s.exchange(r, key)
	what := fmt.Sprint(status)
	if held {
		what += ", held"
	}
	if err != nil {
		what = "nothing: " + err.Error()
	}
	s.world.ledger.answered(key, r.name, what, status, held)
	return status/100 == 2
}

func (s *sender) exchange(r *replica, key string) (status int, held bool, err error) {
	c := s.conns[r.name]
	if c == nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		nc, err := s.world.net.dial(ctx, s.host, r.addr)
		if err != nil {
			return 0, false, err
		}
		c = &session{nc, bufio.NewReader(nc)}
		s.conns[r.name] = c
	}
	defer func() {
		if err != nil {
			c.Close()
			delete(s.conns, r.name)
		}
	}()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(c, s.request(key)); err != nil {
		return 0, false, err
	}
	resp, err := http.ReadResponse(c.br, nil)
	if err != nil {
		return 0, false, err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return 0, false, err
	}
	if resp.Close {
		c.Close()
		delete(s.conns, r.name)
	}
	return resp.StatusCode, resp.Header.Get("Sluice-Status") == "held", nil
}

// request is the webhook as it is sent: mostly plain, sometimes in a form that
// net/http reads, sometimes long.
func (s *sender) request(key string) string {
	pad := ""
	if s.dice.chance(0.02) {
		pad = strings.Repeat("x", 20<<10)
	}
	body := fmt.Sprintf(`{"lane":%q,"key":%q,"pad":%q}`, s.lane, key, pad)
	head := fmt.Sprintf("POST /hooks/a HTTP/1.1\r\nHost: hooks.example\r\nIdempotency-Key: %s\r\n", key)
	if s.world.plan.verified {
		mac := hmac.New(sha256.New, []byte(secret))
		_, _ = io.WriteString(mac, body) // never fails
		head += fmt.Sprintf("X-Signature: %x\r\n", mac.Sum(nil))
	}
	if s.dice.chance(0.05) {
		return fmt.Sprintf("%sTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", head, len(body), body)
	}
	return fmt.Sprintf("%sContent-Length: %d\r\n\r\n%s", head, len(body), body)
}

func (s *sender) close() {
	for _, c := range s.conns {
		c.Close()
	}
}
