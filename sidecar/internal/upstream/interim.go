package upstream

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
)

// interim skips interim (1xx) responses, which are not the answer. It remembers its
// position, so that a wait that ended in the middle of one can be continued.
type interim struct {
	inside bool // an interim response has begun and not ended
	size   int  // bytes of it so far
	text   int  // bytes of its current line so far, without line ends
}

const statusBytes = len("HTTP/1.1 200")

// pass returns nil once the answer itself has begun.
func (i *interim) pass(br *bufio.Reader) error {
	for {
		if !i.inside {
			status, err := br.Peek(statusBytes)
			if err != nil {
				return err
			}
			if !isInterim(status) {
				return nil
			}
			*i = interim{inside: true}
		}
		if err := i.skip(br); err != nil {
			return err
		}
	}
}

// skip reads to the end of the interim response.
func (i *interim) skip(br *bufio.Reader) error {
	for i.inside {
		part, err := br.ReadSlice('\n') // with an error, it still consumes and returns what has arrived
		i.size += len(part)
		i.text += len(bytes.Trim(part, "\r\n"))
		switch {
		case i.size > maxHead:
			return fmt.Errorf("%w: interim answer above %d bytes", errHead, maxHead)
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err != nil:
			return err
		}
		i.inside = i.text > 0
		i.text = 0
	}
	return nil
}

// isInterim reports whether a status line begins an interim response. 101 is not
// one: after it the connection no longer speaks HTTP.
func isInterim(line []byte) bool {
	digit := func(b byte) bool { return '0' <= b && b <= '9' }
	version, status := line[:8], line[9:statusBytes]
	return bytes.HasPrefix(version, []byte("HTTP/1.")) && line[8] == ' ' &&
		status[0] == '1' && digit(status[1]) && digit(status[2]) && string(status) != "101"
}
