package actions

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"time"
)

// ErrTimeout is in the error of a run that took longer than its timeout.
var ErrTimeout = errors.New("timed out")

// killDelay is how long a process group has between SIGTERM and SIGKILL. It
// lies inside the 8 s that a drain leaves for cutting work off.
const killDelay = 5 * time.Second

// Exec is a command line and its limit.
type Exec struct {
	Argv    []string
	Timeout time.Duration
}

// Run runs the command with the payload on its standard input. It returns when
// the command and every process of its group are gone. When ctx ends or the
// timeout passes the group gets SIGTERM, and after five seconds SIGKILL.
func (e Exec) Run(ctx context.Context, c Call) (Outcome, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, e.Timeout, fmt.Errorf("%w after %s", ErrTimeout, e.Timeout))
	defer cancel()

	// The kernel ends the child when the thread that started it ends
	// (processAttributes), so this goroutine keeps its thread until then.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()

	cmd := exec.CommandContext(ctx, e.Argv[0], e.Argv[1:]...) //nolint:gosec // the operator's own command
	cmd.Env = append(os.Environ(), environment(c)...)
	cmd.SysProcAttr = processAttributes()
	cmd.WaitDelay = killDelay // SIGKILL to the command itself; endGroup sees to the rest
	var cancelled time.Time
	cmd.Cancel = func() error {
		cancelled = time.Now()
		return terminateGroup(cmd.Process.Pid)
	}
	pipes, err := connect(cmd, c.Body)
	if err != nil {
		return Outcome{ExitCode: -1}, err
	}

	began := time.Now()
	err = cmd.Start()
	pipes.started()
	if err == nil {
		err = cmd.Wait()
		endGroup(cmd.Process.Pid, cancelled)
	}
	o := Outcome{ExitCode: cmd.ProcessState.ExitCode()}
	o.Output, o.Truncated = pipes.finish()
	o.DurationMS = time.Since(began).Milliseconds()
	switch {
	case err == nil:
		return o, nil
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	}
	return o, fmt.Errorf("run %s: %w", e.Argv[0], err)
}

// environment is what the command learns about the webhook.
func environment(c Call) []string {
	return []string{
		"SLUICE_ID=" + c.ID,
		"SLUICE_SOURCE=" + c.Source,
		"SLUICE_DELIVERY_ID=" + c.DeliveryID,
		"SLUICE_EVENT=" + c.Event,
		"SLUICE_HOOK=" + c.Hook,
		"SLUICE_RECEIVED_AT=" + c.ReceivedAt.UTC().Format(time.RFC3339Nano),
		"SLUICE_ATTEMPT=" + strconv.Itoa(c.Attempt),
	}
}
