// Command recorder is the receiving end of a rehearsal: an exec hook that
// appends one line for its job to a file and syncs it. It is started once per
// webhook, so it imports very little and ends in about a millisecond.
//
//	recorder FILE < payload
//
// The line has six fields, separated by tabs:
//
//	unix-nanoseconds  Sluice-Id  delivery-id  rehearsal-id  fnv1a-64-of-payload  payload-bytes
//
// A payload with `"work_ms":N` is recorded after N milliseconds of work. A line
// means: the job ran to its end.
package main

import (
	"syscall"
	"time"
)

const (
	idMark   = `"rehearsal_id":"`
	workMark = `"work_ms":`
)

func main() {
	if err := record(); err != "" {
		write(2, []byte("recorder: "+err+"\n"))
		syscall.Exit(1)
	}
}

func record() (failure string) {
	file := argument()
	if file == "" {
		return "usage: recorder FILE < payload"
	}
	payload, err := readAll(0)
	if err != nil {
		return "read payload: " + err.Error()
	}
	work := time.Duration(number(after(payload, workMark))) * time.Millisecond
	time.Sleep(work) //nolint:forbidigo // the work itself; a signal ends it

	fd, err := syscall.Open(file, syscall.O_WRONLY|syscall.O_APPEND|syscall.O_CREAT|syscall.O_CLOEXEC, 0o644)
	if err != nil {
		return "open " + file + ": " + err.Error()
	}
	line := join(
		decimal(uint64(time.Now().UnixNano())),
		environ("SLUICE_ID"),
		environ("SLUICE_DELIVERY_ID"),
		quoted(after(payload, idMark)),
		hexadecimal(fnv1a(payload)),
		decimal(uint64(len(payload))),
	)
	// With O_APPEND a single write is never mixed with those of other recorders.
	if n, err := syscall.Write(fd, line); err != nil || n != len(line) {
		return "append to " + file + " failed"
	}
	if err := syscall.Fsync(fd); err != nil {
		return "sync " + file + ": " + err.Error()
	}
	return ""
}

func join(fields ...string) []byte {
	var line []byte
	for i, f := range fields {
		if i > 0 {
			line = append(line, '\t')
		}
		if f == "" {
			f = "-"
		}
		line = append(line, f...)
	}
	return append(line, '\n')
}
