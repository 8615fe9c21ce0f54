// Package replica stands in for a replica of the platform: two containers,
// sidecar and app, as two processes on one machine.
//
// It owns the processes and their ports. It starts them, starts a crashed one
// again in place, signals both when the replica is to stop, and kills after the
// grace period what still runs. It must never route a request and never look
// inside the database. Package rehearsal, package chaos and the app's examples
// call it.
package replica

import (
	"context"
	"fmt"
	"path/filepath"
	"syscall"
	"time"

	"sluice/infra/ports"
	"sluice/infra/rehearsal/timeline"
)

// Ports are the ports of one replica, all on 127.0.0.1. Public is that of the
// public listener.
type Ports struct{ Public, Probe, Control, App int }

// Addr returns 127.0.0.1 with the port.
func Addr(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

// Spec says what a replica runs.
type Spec struct {
	Name    string // of the replica, unique in a run
	Sidecar func(Ports) Command
	App     func(Ports) Command
	LogDir  string        // each container's output goes to NAME-sidecar.log and NAME-app.log
	Backoff time.Duration // before a crashed container starts again
	// SidecarStarted and AppStarted are called after each start of a process;
	// they must not wait.
	SidecarStarted, AppStarted func(p Ports, at time.Time)
	// AppEnded is called after each end of the app's process; nil for none. It
	// must not wait.
	AppEnded func()
	// Died is called when a process ends that was neither signalled nor
	// crashed; it starts again after the back-off.
	Died func(how string)
}

// Order is how SIGTERM reaches the two containers.
type Order struct {
	First string        // "app" or "sidecar"; "" for both at the same moment
	Lead  time.Duration // how much later the other one gets it
}

// Exit says how a terminated replica ended.
type Exit struct {
	Sidecar, App       int  // exit codes, -1 when a signal ended the process
	SidecarCut, AppCut bool // whether SIGKILL was needed
}

// Replica is a running or ended replica.
type Replica struct {
	Name  string
	Ports Ports

	log          *timeline.Log
	sidecar, app *container
}

// Start starts both containers. The caller ends the replica with Close, before
// which it may Terminate it. Once ctx has ended nothing is started any more.
func Start(ctx context.Context, spec Spec, log *timeline.Log) (*Replica, error) {
	at, err := freePorts()
	if err != nil {
		return nil, err
	}
	r := &Replica{Name: spec.Name, Ports: at, log: log}
	contain := func(name string, command Command, started func(Ports, time.Time)) *container {
		return &container{
			name:    name,
			command: command,
			log:     filepath.Join(spec.LogDir, spec.Name+"-"+name+".log"),
			backoff: spec.Backoff,
			say:     func(format string, args ...any) time.Time { return log.Add(spec.Name, format, args...) },
			started: func(began time.Time) { started(at, began) },
			died:    spec.Died,
		}
	}
	r.sidecar = contain("sidecar", spec.Sidecar(at), spec.SidecarStarted)
	r.app = contain("app", spec.App(at), spec.AppStarted)
	r.app.ended = spec.AppEnded
	r.sidecar.start(ctx)
	r.app.start(ctx)
	return r, nil
}

// Terminate sends SIGTERM in the given order, calls signalled with the time of
// the first one, waits for both containers and kills what is left when grace
// has passed since then. It returns early when ctx ends.
func (r *Replica) Terminate(ctx context.Context, order Order, grace time.Duration, signalled func(time.Time)) Exit {
	first, second := r.sidecar, r.app
	if order.First == "app" {
		first, second = second, first
	}
	// Start neither again from now on: the second one may end before its own
	// signal because the first one told it to.
	first.leave()
	second.leave()
	at := first.terminate()
	if order.First == "" {
		second.terminate()
		r.log.AddAt(at, r.Name, "SIGTERM to both")
	} else {
		r.log.AddAt(at, r.Name, "SIGTERM to the %s", first.name)
	}
	signalled(at)
	ctx, cancel := context.WithDeadline(ctx, at.Add(grace))
	defer cancel()
	if order.First != "" && pause(ctx, order.Lead) {
		r.log.AddAt(second.terminate(), r.Name, "SIGTERM to the %s", second.name)
	}
	for _, c := range []*container{first, second} {
		select {
		case <-c.gone:
		case <-ctx.Done():
			r.log.Add(r.Name, "SIGKILL to the %s after %s", c.name, time.Since(at).Round(time.Millisecond))
			c.kill()
		}
	}
	var exit Exit
	exit.Sidecar, exit.SidecarCut = r.sidecar.exit()
	exit.App, exit.AppCut = r.app.exit()
	return exit
}

// CrashApp kills the app, which starts again after the back-off.
func (r *Replica) CrashApp() {
	r.log.Add(r.Name, "SIGKILL to the app (crash)")
	r.app.crash()
}

// CrashSidecar kills the sidecar, which starts again after the back-off.
func (r *Replica) CrashSidecar() {
	r.log.Add(r.Name, "SIGKILL to the sidecar (crash)")
	r.sidecar.crash()
}

// FreezeSidecar suspends the sidecar's process (SIGSTOP) and reports whether there
// was one. ThawSidecar lets it go on.
func (r *Replica) FreezeSidecar() bool {
	r.log.Add(r.Name, "SIGSTOP to the sidecar")
	return r.sidecar.signal(syscall.SIGSTOP)
}

// ThawSidecar lets a frozen sidecar go on (SIGCONT).
func (r *Replica) ThawSidecar() {
	r.log.Add(r.Name, "SIGCONT to the sidecar")
	r.sidecar.signal(syscall.SIGCONT)
}

// Close kills whatever still runs and waits for it.
func (r *Replica) Close() {
	r.sidecar.kill()
	r.app.kill()
}

func freePorts() (p Ports, err error) {
	for _, port := range []*int{&p.Public, &p.Probe, &p.Control, &p.App} {
		if *port, err = ports.Free(); err != nil {
			return Ports{}, err
		}
	}
	return p, nil
}
