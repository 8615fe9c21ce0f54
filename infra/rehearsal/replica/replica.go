// Package replica stands in for a replica of the platform: two containers,
// sidecar and app, as two processes on one machine, or one container that runs both.
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
	Name    string              // of the replica, unique in a run
	Sidecar func(Ports) Command // nil for an app without a sidecar
	App     func(Ports) Command // nil where the sidecar's container runs the app too
	LogDir  string              // each container's output goes to NAME-sidecar.log and NAME-app.log
	Backoff time.Duration       // before a crashed container starts again
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
	After bool          // the other one gets it once the first has ended, in place of Lead
}

// leastAfter is what the second container has at least between SIGTERM and SIGKILL
// when it is signalled after the first: Kubernetes leaves 2 s of a grace that is over
// (kubelet, minimumGracePeriodInSeconds).
const leastAfter = 2 * time.Second

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
	if spec.Sidecar != nil {
		r.sidecar = contain("sidecar", spec.Sidecar(at), spec.SidecarStarted)
		r.sidecar.start(ctx)
	}
	if spec.App != nil {
		r.app = contain("app", spec.App(at), spec.AppStarted)
		r.app.ended = spec.AppEnded
		r.app.start(ctx)
	}
	return r, nil
}

// Terminate sends SIGTERM in the given order, calls signalled with the time of
// the first one, waits for both containers and kills what is left when grace
// has passed since then. It returns early when ctx ends.
func (r *Replica) Terminate(ctx context.Context, order Order, grace time.Duration, signalled func(time.Time)) Exit {
	var exit Exit
	switch {
	case r.app == nil:
		exit.Sidecar, exit.SidecarCut = r.end(ctx, r.sidecar, grace, signalled)
		return exit
	case r.sidecar == nil:
		exit.App, exit.AppCut = r.end(ctx, r.app, grace, signalled)
		return exit
	}
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
	over := at.Add(grace)
	if order.After {
		r.await(ctx, first, at, over)
		then := second.terminate()
		r.log.AddAt(then, r.Name, "SIGTERM to the %s", second.name)
		if least := then.Add(leastAfter); over.Before(least) {
			over = least
		}
	} else if order.First != "" && pause(ctx, min(order.Lead, grace)) {
		r.log.AddAt(second.terminate(), r.Name, "SIGTERM to the %s", second.name)
	}
	r.await(ctx, first, at, over)
	r.await(ctx, second, at, over)
	exit.Sidecar, exit.SidecarCut = r.sidecar.exit()
	exit.App, exit.AppCut = r.app.exit()
	return exit
}

// await waits for a container that was signalled then, and kills it when its time is
// over.
func (r *Replica) await(ctx context.Context, c *container, signalled, over time.Time) {
	ctx, cancel := context.WithDeadline(ctx, over)
	defer cancel()
	select {
	case <-c.gone:
	case <-ctx.Done():
		r.log.Add(r.Name, "SIGKILL to the %s after %s", c.name, time.Since(signalled).Round(time.Millisecond))
		c.kill()
	}
}

// end ends one container as the platform does.
func (r *Replica) end(ctx context.Context, c *container, grace time.Duration, signalled func(time.Time)) (code int, cut bool) {
	c.leave()
	at := c.terminate()
	r.log.AddAt(at, r.Name, "SIGTERM to the %s", c.name)
	signalled(at)
	r.await(ctx, c, at, at.Add(grace))
	return c.exit()
}

// Replace ends one container, "app" or "sidecar", as the platform does, and starts it
// again once it is gone. The other one goes on. It returns the exit code, and whether
// SIGKILL was needed.
func (r *Replica) Replace(ctx context.Context, name string, grace time.Duration) (code int, cut bool) {
	old := &r.sidecar
	if name == "app" {
		old = &r.app
	}
	code, cut = r.end(ctx, *old, grace, func(time.Time) {})
	*old = (*old).again()
	(*old).start(ctx)
	return code, cut
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
	for _, c := range []*container{r.sidecar, r.app} {
		if c != nil {
			c.kill()
		}
	}
}

func freePorts() (p Ports, err error) {
	for _, port := range []*int{&p.Public, &p.Probe, &p.Control, &p.App} {
		if *port, err = ports.Free(); err != nil {
			return Ports{}, err
		}
	}
	return p, nil
}
