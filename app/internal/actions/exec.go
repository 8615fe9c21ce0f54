package actions

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"time"

	"sluice/app/internal/hooks"
	"sluice/app/internal/tracing"
)

// killDelay is how long a process group has between SIGTERM and SIGKILL. It must be
// shorter than the 6.5 s that a drain waits for work that it has cut off.
const killDelay = 5 * time.Second

// Limits of the payload's fields in a command's environment.
const (
	fieldsDepth = 3
	fieldsCount = 200
	fieldsSize  = 1 << 10
	fieldsBody  = 256 << 10 // larger payloads are not parsed for this
)

// runExec runs the command and gives it the payload as the hook says. It returns
// when the command and every process of its group have ended. When ctx ends, the
// group gets SIGTERM, and SIGKILL after killDelay. Its output is logged as masked
// writes it.
func runExec(ctx context.Context, hook string, e *hooks.Exec, c Call, masked *strings.Replacer) (Outcome, error) {
	argv, env, err := commandLine(hook, e, c)
	if err != nil {
		return Outcome{}, err
	}
	// The kernel ends the child when the thread that started it ends
	// (processAttributes), so this goroutine keeps its thread until then.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()

	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...) //nolint:gosec // the operator's own command
	cmd.Dir = e.Dir
	cmd.SysProcAttr = processAttributes()
	cmd.WaitDelay = killDelay // SIGKILL to the command itself; endGroup kills the rest
	var cancelled time.Time
	cmd.Cancel = func() error {
		cancelled = time.Now()
		return terminateGroup(cmd.Process.Pid)
	}
	if parent := tracing.Parent(ctx); parent != "" {
		env = append(env, "TRACEPARENT="+parent)
	}
	payload, file, err := payloadFor(e, c)
	if err != nil {
		return Outcome{}, err
	}
	if file != "" {
		defer func() { _ = os.Remove(file) }()
		env = append(env, "SLUICE_PAYLOAD_FILE="+file)
	}
	cmd.Env = append(inherited(e.Inherit), env...)
	pipes, err := connect(cmd, payload, lineLog{log: c.Logger, masked: masked})
	if err != nil {
		return Outcome{}, err
	}

	err = cmd.Start()
	pipes.started()
	if err == nil {
		err = cmd.Wait()
		endGroup(cmd.Process.Pid, cancelled)
	}
	code := cmd.ProcessState.ExitCode() // -1 when it did not start or a signal ended it
	o := Outcome{ExitCode: &code}
	o.Output, o.Truncated = pipes.finish()
	if err != nil {
		return o, fmt.Errorf("run %s: %w", argv[0], err)
	}
	return o, nil
}

// usual are the variables of the app that every command gets. The others may be
// credentials.
var usual = []string{"PATH", "HOME", "LANG", "TZ", "TMPDIR"}

// inherited returns the usual variables and those with the given names, as far as
// the app has them.
func inherited(more []string) []string {
	var env []string
	for _, name := range append(usual[:len(usual):len(usual)], more...) {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// commandLine returns the command and the variables that it gets besides the
// inherited ones: SLUICE_*, the payload's plain fields as SLUICE_PAYLOAD_*, and the
// hook's own variables.
func commandLine(hook string, e *hooks.Exec, c Call) (argv, env []string, err error) {
	r := renderer{event: c.Event}
	for _, t := range e.Argv {
		argv = append(argv, r.text(t))
	}
	if e.Shell != "" {
		argv = []string{"/bin/sh", "-c", e.Shell}
	}
	if c.Size <= fieldsBody {
		for _, f := range c.Event.Fields(fieldsDepth, fieldsCount, fieldsSize) {
			env = append(env, "SLUICE_PAYLOAD_"+f.Name+"="+f.Value)
		}
	}
	env = append(env,
		"SLUICE_ID="+c.Event.ID,
		"SLUICE_SOURCE="+c.Event.Source,
		"SLUICE_ROUTE="+c.Event.Route,
		"SLUICE_METHOD="+c.Event.Method,
		"SLUICE_PATH="+c.Event.Path,
		"SLUICE_QUERY="+c.Event.Query,
		"SLUICE_VERIFIED="+strconv.FormatBool(c.Event.Verified),
		"SLUICE_DELIVERY_ID="+c.Event.DeliveryID,
		"SLUICE_EVENT="+c.Event.Event,
		"SLUICE_HOOK="+hook,
		"SLUICE_RECEIVED_AT="+c.Event.ReceivedAt.UTC().Format(time.RFC3339Nano),
		"SLUICE_ATTEMPT="+strconv.Itoa(c.Attempt),
	)
	for name, t := range e.Env {
		env = append(env, name+"="+r.text(t))
	}
	return argv, env, r.err
}

// payloadFor returns the command's standard input, and the name of the file with
// the payload when the hook asks for one.
func payloadFor(e *hooks.Exec, c Call) (stdin io.Reader, file string, err error) {
	switch e.Payload {
	case "none":
		return nil, "", nil
	case "file":
		f, err := os.CreateTemp("", "webhook-*")
		if err != nil {
			return nil, "", fmt.Errorf("make payload file: %w", err)
		}
		_, err = io.Copy(f, c.Payload)
		if closeErr := f.Close(); err == nil {
			err = closeErr
		}
		if err != nil {
			_ = os.Remove(f.Name())
			return nil, "", fmt.Errorf("write payload file: %w", err)
		}
		return nil, f.Name(), nil
	}
	return c.Payload, "", nil
}

// Describe returns what the hook would do for the event: a command's arguments, or
// a short description.
func Describe(h *hooks.Hook, e *hooks.Event) ([]string, error) {
	e.Secret = func(string) (string, error) { return "***", nil }
	r := renderer{event: e}
	switch a := h.Action; {
	case a.Exec != nil:
		argv, _, err := commandLine(h.Name, a.Exec, Call{Event: e, Size: fieldsBody + 1})
		return argv, err
	case a.HTTP != nil:
		return []string{a.HTTP.Method, r.text(a.HTTP.URL)}, r.err
	case a.GitHubComment != nil:
		return []string{"comment", r.text(a.GitHubComment.Repository) + "#" + r.text(a.GitHubComment.Issue), r.text(a.GitHubComment.Body)}, r.err
	case a.GitHubStatus != nil:
		return []string{"status", r.text(a.GitHubStatus.Repository) + "@" + r.text(a.GitHubStatus.SHA), r.text(a.GitHubStatus.State)}, r.err
	case a.SlackMessage != nil:
		return []string{"message", r.text(a.SlackMessage.Channel), r.text(a.SlackMessage.Text)}, r.err
	}
	return []string{"log"}, nil
}
