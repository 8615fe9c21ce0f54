package wire

import (
	"io"
	"net"
	"testing"
	"time"
)

// net/http half-closes a connection, where it can, before it closes it with unread
// bytes; otherwise the sender would see a reset in place of its answer.
func TestHandedOverConnectionsHalfClose(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	sender, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer sender.Close()
	nc, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	var handed net.Conn = newConnection(server(t, nil), nc).handOver()
	defer handed.Close()
	half, ok := handed.(interface{ CloseWrite() error })
	if !ok {
		t.Fatal("the connection cannot half-close")
	}
	for _, c := range []net.Conn{sender, handed} {
		c.SetDeadline(time.Now().Add(time.Minute))
	}
	io.WriteString(handed, "answer")
	if err := half.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(sender); err != nil || string(got) != "answer" {
		t.Errorf("the sender got %q (%v)", got, err)
	}
	io.WriteString(sender, "still sending")
	got := make([]byte, 13)
	if _, err := io.ReadFull(handed, got); err != nil || string(got) != "still sending" {
		t.Errorf("it got %q (%v)", got, err)
	}
}

// resting is a connection that has been idle since then.
type resting struct {
	idle
	evicted bool
}

func (r *resting) evict() { r.evicted = true }

// The connection that has been idle longest, and long enough, makes room. One with
// a request never does.
func TestTheIdlestMakesRoom(t *testing.T) {
	s := server(t, nil)
	s.MaxConnections = 3
	now := time.Now()
	conns := []*resting{{}, {}, {}}
	conns[0].idleFrom(now.Add(-time.Minute))
	conns[1].idleFrom(now.Add(-time.Hour))
	conns[2].busy()
	for _, c := range conns {
		if !s.admit(c) {
			t.Fatal("there is room")
		}
	}
	for _, want := range []struct{ room, first, second bool }{{true, false, true}, {true, true, true}, {false, true, true}} {
		fresh := &resting{}
		fresh.idleFrom(now)
		if s.admit(fresh) != want.room || conns[0].evicted != want.first || conns[1].evicted != want.second || conns[2].evicted || fresh.evicted {
			t.Errorf("want %+v, evicted %v %v %v", want, conns[0].evicted, conns[1].evicted, conns[2].evicted)
		}
	}
	if len(s.conns) != 3 {
		t.Errorf("%d are counted", len(s.conns))
	}
}
