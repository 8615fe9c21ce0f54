package actions

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"time"
)

// pipes copies the payload to a command and its output back. os/exec could do
// that, but would wait until all processes have closed the pipes, and a child that
// the command left behind may keep them open for ever.
type pipes struct {
	childIn, childOut *os.File // the command's ends
	in, out           *os.File // ours
	tail              tail
	lines             lineLog
	payload           io.Reader // nil: empty standard input
	copying           sync.WaitGroup
}

// outputLimit limits the wait for output that is still in the pipe when the
// process group has ended.
const outputLimit = time.Second

func connect(cmd *exec.Cmd, payload io.Reader, lines lineLog) (*pipes, error) {
	p := &pipes{payload: payload, lines: lines}
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

// started closes the command's ends and begins to copy.
func (p *pipes) started() {
	p.close(p.childIn, p.childOut)
	p.copying.Add(2)
	go func() {
		defer p.copying.Done()
		defer p.close(p.in)
		// A command need not read its payload: a broken pipe is no error.
		if p.payload != nil {
			_, _ = io.Copy(p.in, p.payload)
		}
	}()
	go func() {
		defer p.copying.Done()
		_, _ = io.Copy(io.MultiWriter(&p.tail, &p.lines), p.out)
	}()
}

// finish is called when the process group has ended. It returns the tail of the
// output.
func (p *pipes) finish() (text string, truncated bool) {
	_ = p.in.Close()                                       // ends a copy that nobody reads
	_ = p.out.SetReadDeadline(time.Now().Add(outputLimit)) // ends a copy when a process outside the group has the pipe open
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
