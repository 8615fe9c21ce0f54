package postgres

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// shutdown is a signal that PostgreSQL takes as a way to shut down.
type shutdown syscall.Signal

const (
	fastShutdown      = shutdown(syscall.SIGINT)
	immediateShutdown = shutdown(syscall.SIGQUIT)
)

// account is the user that the server runs as, nil for the current one.
type account struct{ uid, gid uint32 }

// serverAccount returns the account to run the server as. PostgreSQL refuses to
// run as root, so root uses an unprivileged one.
func serverAccount() (*account, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "_postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, uidErr := strconv.ParseUint(u.Uid, 10, 32)
		gid, gidErr := strconv.ParseUint(u.Gid, 10, 32)
		if uidErr == nil && gidErr == nil && uid != 0 {
			return &account{uint32(uid), uint32(gid)}, nil
		}
	}
	return nil, errors.New("find a user for the server: PostgreSQL does not run as root, and there is no user postgres or nobody")
}

// own gives path to the account.
func (a *account) own(path string) error {
	if a == nil {
		return nil
	}
	if err := os.Chown(path, int(a.uid), int(a.gid)); err != nil {
		return fmt.Errorf("give directory to the server's user: %w", err)
	}
	return nil
}

func (a *account) attributes() *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setpgid: true} // Ctrl-C in the terminal is for us to handle, not for the server
	if a != nil {
		attr.Credential = &syscall.Credential{Uid: a.uid, Gid: a.gid}
	}
	dieWithParent(attr)
	return attr
}

// run runs a command as the account to its end.
func (a *account) run(ctx context.Context, dir, name string, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, readyLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Env, cmd.SysProcAttr = dir, environment(), a.attributes()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("run %s: %w\n%s", name, err, out)
	}
	return nil
}

// environment is this process's without the variables that would change the
// server's settings.
func environment() []string {
	env := []string{"LC_ALL=C"}
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "PG") && !strings.HasPrefix(kv, "LC_") {
			env = append(env, kv)
		}
	}
	return env
}

// process is the server's process and the goroutine that waits for it.
type process struct {
	cmd     *exec.Cmd
	started chan error
	ended   chan struct{}
	err     error // how it ended; read it after ended is closed
}

func startProcess(a *account, dir, logFile string, env []string, name string, args ...string) (*process, error) {
	log, err := os.OpenFile(logFile, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open server log: %w", err)
	}
	defer log.Close()
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Env, cmd.SysProcAttr = dir, append(environment(), env...), a.attributes()
	cmd.Stdout, cmd.Stderr = log, log
	p := &process{cmd: cmd, started: make(chan error, 1), ended: make(chan struct{})}
	go p.own()
	if err := <-p.started; err != nil {
		<-p.ended
		return nil, fmt.Errorf("start server process: %w", err)
	}
	return p, nil
}

// own starts the process and waits for it on one thread, because the kernel's
// parent-death signal goes out when the thread that started a child ends.
func (p *process) own() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(p.ended)
	err := p.cmd.Start()
	p.started <- err
	if err == nil {
		p.err = p.cmd.Wait()
	}
}

// end signals the process and waits for it. After limit it uses stronger signals.
func (p *process) end(how shutdown, limit time.Duration) error {
	for _, step := range []struct {
		signal syscall.Signal
		limit  time.Duration
	}{
		{syscall.Signal(how), limit},
		{syscall.SIGQUIT, 5 * time.Second},
		{syscall.SIGKILL, 5 * time.Second},
	} {
		if err := p.cmd.Process.Signal(step.signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return fmt.Errorf("signal server: %w", err)
		}
		timer := time.NewTimer(step.limit)
		select {
		case <-p.ended:
			timer.Stop()
			return nil
		case <-timer.C:
		}
	}
	return errors.New("stop server: it still runs after SIGKILL")
}
