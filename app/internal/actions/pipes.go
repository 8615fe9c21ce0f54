package actions

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"sync"
	"time"
)

// pipes carries the payload to a command and its output back. os/exec could do
// it, but would wait for whoever holds the other ends, and a child that the
// command left behind may hold them for ever.
type pipes struct {
	childIn, childOut *os.File // the command's ends
	in, out           *os.File // ours
	tail              tail
	lines             lineLog
	payload           io.Reader // nil: nothing to read
	copying           sync.WaitGroup
}

// drainLimit bounds the wait for output that is still in the pipe when the
// process group is gone.
const drainLimit = time.Second

func connect(cmd *exec.Cmd, payload io.Reader, log *slog.Logger) (*pipes, error) {
	p := &pipes{payload: payload, lines: lineLog{log: log}}
	var errIn, errOut error
	p.childIn, p.in, errIn = os.Pipe()
	p.out, p.childOut, errOut = os.Pipe()
	if err := errors.Join(errIn, errOut); err != nil {
		p.close(p.childIn, p.in, p.out, p.childOut)
		return nil, fmt.Errorf("make pipe: %w", err)
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = p.childIn, p.childOut, p.childOut
	return p, nil
}

// started lets go of the command's ends and begins to copy.
func (p *pipes) started() {
	p.close(p.childIn, p.childOut)
	p.copying.Add(2)
	go func() {
		defer p.copying.Done()
		defer p.close(p.in)
		// A command need not read its payload: a broken pipe is no fault.
		if p.payload != nil {
			_, _ = io.Copy(p.in, p.payload)
		}
	}()
	go func() {
		defer p.copying.Done()
		_, _ = io.Copy(io.MultiWriter(&p.tail, &p.lines), p.out)
	}()
}

// finish is called when the process group is gone. It returns the tail of the
// output.
func (p *pipes) finish() (text string, truncated bool) {
	_ = p.in.Close()                                      // ends a copy nobody reads
	_ = p.out.SetReadDeadline(time.Now().Add(drainLimit)) // ends one held open from outside the group
	p.copying.Wait()
	p.close(p.out)
	p.lines.flush()
	return p.tail.text()
}

func (p *pipes) close(files ...*os.File) {
	for _, f := range files {
		if f != nil {
			_ = f.Close()
		}
	}
}
