package supervise

import (
	"net"
	"net/url"
	"sync"
	"testing"
	"time"

	"sluice/infra/testkit"
)

// cable is a proxy to a server that can hold up what goes either way.
type cable struct {
	net.Listener
	open     sync.WaitGroup
	up, down valve // to the server, and from it
}

// valve lets bytes through while it is open.
type valve struct {
	mu   sync.Mutex
	shut chan struct{} // closed when it opens, nil while it is open
	held int           // how often something had to wait
}

func (v *valve) close() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.shut == nil {
		v.shut, v.held = make(chan struct{}), 0
	}
}

func (v *valve) reopen() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.shut != nil {
		close(v.shut)
		v.shut = nil
	}
}

func (v *valve) holds() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.held > 0
}

func (v *valve) pass() {
	v.mu.Lock()
	shut := v.shut
	v.held++
	v.mu.Unlock()
	if shut != nil {
		<-shut
	}
}

func newCable(t *testing.T, database string) (w *cable, through string) {
	t.Helper()
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	w = &cable{}
	if w.Listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	server := u.Host
	w.open.Go(func() {
		for {
			client, err := w.Accept()
			if err != nil {
				return
			}
			w.open.Go(func() { w.serve(client, server) })
		}
	})
	t.Cleanup(func() {
		_ = w.Close()
		w.up.reopen()
		w.down.reopen()
		w.open.Wait()
	})
	u.Host = w.Addr().String()
	return w, u.String()
}

func (w *cable) serve(client net.Conn, to string) {
	server, err := net.Dial("tcp", to)
	if err != nil {
		_ = client.Close()
		return
	}
	var both sync.WaitGroup
	carry := func(from, to net.Conn, v *valve) {
		buf := make([]byte, 64<<10)
		for {
			n, err := from.Read(buf)
			if err != nil {
				break
			}
			v.pass()
			if _, err := to.Write(buf[:n]); err != nil {
				break
			}
		}
		_ = from.Close()
		_ = to.Close()
	}
	both.Go(func() { carry(client, server, &w.up) })
	both.Go(func() { carry(server, client, &w.down) })
	both.Wait()
}

// A heartbeat is delayed between its replica and the server, so that the others
// take the replica for gone while each of its heartbeats set out in time: at no
// moment may one acknowledge while another believes that it is alone.
func TestDelayedHeartbeat(t *testing.T) {
	database := testkit.Database(t)
	cable, through := newCable(t, database)
	await := func(what string, ok func() bool) {
		t.Helper()
		for end := time.Now().Add(patience); !ok(); <-time.After(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("it has not come about that %s", what)
			}
		}
	}
	far, farLeaves := member(t, through)
	near, nearLeaves := member(t, database)
	together := func() bool {
		return far.sealed.Load() && near.sealed.Load() && far.gate.Permitted() && near.gate.Permitted()
	}
	alone := func() bool { return near.gate.Permitted() && !near.sealed.Load() }
	await("both are there", together)

	stop := make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
			}
			if alone() && far.gate.Permitted() && alone() {
				t.Error("one may acknowledge while the other believes that it is alone")
				return
			}
		}
	})
	for range 2 {
		cable.down.close()
		await("the answer to a heartbeat is held up", cable.down.holds)
		<-time.After(1300 * time.Millisecond) // a delay of the network, below what a try may take
		cable.up.close()
		cable.down.reopen()
		await("the other one is alone", alone)
		cable.up.reopen()
		await("both are there again", together)
	}
	close(stop)
	watch.Wait()
	farLeaves()
	nearLeaves()
}
