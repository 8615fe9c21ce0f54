package chaos

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"sync"
	"time"

	"sluice/infra/rehearsal/relay"
	"sluice/infra/rehearsal/replica"
	"sluice/infra/rehearsal/sender"
)

const (
	restartBackoff = 300 * time.Millisecond
	followEvery    = 10 * time.Millisecond
	localLimit     = 2 * time.Second
)

// node is a replica with its wires.
type node struct {
	*replica.Replica
	links [wires]*link
	ended chan struct{} // closed when the replica is gone

	mu      sync.Mutex
	started int // how often the app's process has started or ended
}

// newNode starts a replica whose connections go over wires of its own.
func (s *stage) newNode(ctx context.Context, name, revision, sidecar string) (*node, error) {
	n := &node{ended: make(chan struct{})}
	for i := range n.links {
		r, err := relay.New()
		if err != nil {
			n.closeLinks()
			return nil, err
		}
		n.links[i] = &link{relay: r}
	}
	database, err := url.Parse(s.database)
	if err != nil {
		n.closeLinks()
		return nil, fmt.Errorf("parse database URL: %w", err)
	}
	if err := n.links[DatabaseWire].follow(database.Host); err != nil {
		n.closeLinks()
		return nil, err
	}
	database.Host = n.links[DatabaseWire].relay.Addr()
	n.Replica, err = replica.Start(ctx, replica.Spec{
		Name: name, LogDir: s.dir, Backoff: restartBackoff,
		Sidecar: func(p replica.Ports) replica.Command {
			return s.sidecarCommand(n, p, sidecar, name, revision, database.String())
		},
		App: func(p replica.Ports) replica.Command {
			return replica.Command{Path: s.config.Receiver[0], Args: s.config.Receiver[1:], Env: []string{
				AddrVar + "=" + replica.Addr(p.App), RecordsVar + "=" + s.records, ReplicaVar + "=" + name,
			}}
		},
		SidecarStarted: func(replica.Ports, time.Time) {},
		AppStarted: func(p replica.Ports, _ time.Time) {
			turn := n.turn()
			s.work.Go(func() { n.followApp(ctx, turn, replica.Addr(p.App)) })
		},
		AppEnded: n.appEnded,
		Died:     func(how string) { s.problem("%s's %s", name, how) },
	}, &s.log)
	if err != nil {
		n.closeLinks()
		return nil, err
	}
	if err := n.links[BalancerWire].follow(replica.Addr(n.Ports.Public)); err != nil {
		n.close()
		return nil, err
	}
	return n, nil
}

func (s *stage) sidecarCommand(n *node, p replica.Ports, path, name, revision, database string) replica.Command {
	return replica.Command{Path: path, Args: []string{"serve"}, Env: []string{
		"DATABASE_URL=" + database,
		"LISTEN_ADDR=" + replica.Addr(p.Public),
		"PROBE_ADDR=" + replica.Addr(p.Probe),
		"CONTROL_ADDR=" + replica.Addr(p.Control),
		"APP_URL=http://" + n.links[AppWire].relay.Addr(),
		"ORDER=" + s.config.Order,
		"WEBHOOK_ROUTES=" + routes,
		"LANES=" + laneKeys,
		"GITHUB_WEBHOOK_SECRET=" + githubSecret,
		"GENERIC_WEBHOOK_SECRET=" + genericSecret,
		"SLUICE_SECRET=" + sluiceSecret,
		"REPLAY_MAX_BACKOFF=5s", // a long one would outlast the run
		"TERMINATION_GRACE_SECONDS=" + strconv.Itoa(int(grace.Seconds())),
		"CONTAINER_APP_REPLICA_NAME=" + name,
		"CONTAINER_APP_REVISION=" + revision,
		"LOG_FORMAT=json",
	}}
}

// turn counts that the app's process has started or ended.
func (n *node) turn() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.started++
	return n.started
}

// followApp connects the wire to the app once it listens.
func (n *node) followApp(ctx context.Context, turn int, addr string) {
	for sender.Pause(ctx, followEvery) {
		c, err := net.DialTimeout("tcp", addr, localLimit)
		if err == nil {
			_ = c.Close()
		}
		n.mu.Lock()
		if n.started != turn {
			n.mu.Unlock()
			return
		}
		if err == nil {
			err = n.links[AppWire].follow(addr)
		}
		n.mu.Unlock()
		if err == nil {
			return
		}
	}
}

func (n *node) appEnded() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.started++
	_ = n.links[AppWire].follow("") // going down cannot fail
}

// gone reports whether the replica has ended.
func (n *node) gone() bool {
	select {
	case <-n.ended:
		return true
	default:
		return false
	}
}

// close stops the replica and its wires.
func (n *node) close() {
	n.Close()
	n.closeLinks()
	if !n.gone() {
		close(n.ended)
	}
}

func (n *node) closeLinks() {
	for _, l := range n.links {
		if l != nil {
			l.relay.Close()
		}
	}
}
