package receiver

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// Delivery is one webhook as an app got it.
type Delivery struct {
	Place       int       // in the order of all apps of a run, from 1
	Begun, Done time.Time // Done is when it was recorded, just before the answer
	Replica     string
	SluiceID    string
	ID          string // of the run, from the head
	Attempt     int
	Replayed    bool
	Status      int // of the answer
	Sum         uint64
	Bytes       int
}

// line is the delivery as a line of the file. It also begins with a newline: an
// app that is killed may leave half a line, which must not spoil the next one.
func (d *Delivery) line() []byte {
	b := make([]byte, 0, 256)
	b = append(b, '\n')
	for _, n := range []int64{d.Begun.UnixNano(), d.Done.UnixNano(), int64(d.Attempt), int64(d.Status), int64(d.Sum), int64(d.Bytes)} {
		b = append(strconv.AppendInt(b, n, 10), '\t')
	}
	b = append(strconv.AppendBool(b, d.Replayed), '\t')
	for _, text := range []string{d.Replica, d.SluiceID, d.ID} {
		b = append(append(b, text...), '\t')
	}
	return append(b, ".\n"...) // the point marks a complete line
}

// Read reads the file of the apps. broken counts incomplete lines.
func Read(r io.Reader) (all []Delivery, broken int, err error) {
	lines := bufio.NewReaderSize(r, 1<<20)
	for {
		line, err := lines.ReadString('\n')
		if line = strings.TrimSuffix(line, "\n"); line != "" {
			d, parseErr := parse(line)
			if parseErr != nil {
				broken++
			} else {
				d.Place = len(all) + 1
				all = append(all, d)
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return all, broken, nil
		case err != nil:
			return nil, 0, fmt.Errorf("read records: %w", err)
		}
	}
}

const fields = 11

func parse(line string) (d Delivery, err error) {
	f := strings.Split(line, "\t")
	if len(f) != fields || f[fields-1] != "." {
		return d, errors.New("incomplete line")
	}
	var n [6]int64
	for i := range n {
		if n[i], err = strconv.ParseInt(f[i], 10, 64); err != nil {
			return d, fmt.Errorf("parse number: %w", err)
		}
	}
	return Delivery{
		Begun: time.Unix(0, n[0]), Done: time.Unix(0, n[1]), Attempt: int(n[2]), Status: int(n[3]),
		Sum: uint64(n[4]), Bytes: int(n[5]), Replayed: f[6] == "true", Replica: f[7], SluiceID: f[8], ID: f[9],
	}, nil
}
