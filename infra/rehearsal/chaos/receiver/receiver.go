// Package receiver is the app of a chaos run: it writes down what it is given
// and answers, for a price that leaves the machine to the sidecars.
//
// It owns the file in which all apps of a run write, one line a webhook, before
// they answer: the order of the lines is the order in which the apps took them.
// It does what a webhook's head asks for: it is late, or it turns the webhook
// down at replay. It must never decide anything by itself. Package chaos runs it
// as a process and reads the file.
package receiver

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// Header fields by which a webhook says who it is and what it wants of the app.
const (
	IDHeader     = "Chaos-Id"
	LateHeader   = "Chaos-Late"   // milliseconds before it is taken, while its sender waits
	RefuseHeader = "Chaos-Refuse" // the status of the answer to its first replay, or to all when it is final
)

const (
	bodyLimit = 32 << 20
	drainPoll = 20 * time.Millisecond
)

// Options say where and as whom the app runs.
type Options struct {
	Addr string
	File string // the records of all apps
	Name string // of the replica
}

// app is one process.
type app struct {
	options  Options
	records  *os.File
	busy     atomic.Int64
	draining atomic.Bool
}

// Serve answers until ctx ends, then refuses with 503, finishes what it has in
// hand and returns.
func Serve(ctx context.Context, o Options) error {
	records, err := os.OpenFile(o.File, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("open records: %w", err)
	}
	defer records.Close()
	l, err := net.Listen("tcp", o.Addr)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	a := &app{options: o, records: records}
	server := &http.Server{Handler: a, ReadHeaderTimeout: 30 * time.Second}
	stop := context.AfterFunc(ctx, func() { a.draining.Store(true) })
	defer stop()
	var work sync.WaitGroup
	defer work.Wait()
	defer cancel()
	work.Go(func() { a.endWhenIdle(ctx, server) })
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve: %w", err)
	}
	return nil
}

// endWhenIdle closes the server once it drains and has nothing in hand.
func (a *app) endWhenIdle(ctx context.Context, server *http.Server) {
	<-ctx.Done()
	for idle := 0; idle < 3; <-time.After(drainPoll) {
		idle++
		if a.busy.Load() > 0 {
			idle = 0
		}
	}
	_ = server.Close() // of what is open nothing is awaited any more
}

// ServeHTTP takes one webhook.
func (a *app) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/healthz":
		if a.draining.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		return
	case "/drain":
		a.draining.Store(a.draining.Load() || r.Method == http.MethodPost)
		fmt.Fprintf(w, `{"draining":%v,"activeRequests":%d,"activeJobs":0}`, a.draining.Load(), a.busy.Load())
		return
	}
	a.busy.Add(1)
	defer a.busy.Add(-1)
	if a.draining.Load() {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	d := Delivery{
		Begun: time.Now(), Replica: a.options.Name, ID: r.Header.Get(IDHeader),
		SluiceID: r.Header.Get("Sluice-Id"), Replayed: r.Header.Get("Sluice-Replayed") == "true",
	}
	d.Attempt, _ = strconv.Atoi(r.Header.Get("Sluice-Attempt")) // 0 says that it was not there
	var err error
	if d.Sum, d.Bytes, err = sum(r.Body); err != nil {
		w.WriteHeader(http.StatusBadRequest) // nobody reads it: the body was cut off
		return
	}
	d.Status = status(r.Header, d)
	if late, _ := strconv.Atoi(r.Header.Get(LateHeader)); late > 0 && !d.Replayed {
		<-time.After(time.Duration(late) * time.Millisecond) // who hung up has still been heard
	}
	d.Done = time.Now()
	if _, err := a.records.Write(d.line()); err != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Length", "0")
	w.WriteHeader(d.Status)
}

// status is the answer that a webhook asks for. While its sender waits that is
// always a good one, since the sender would be given any other.
func status(h http.Header, d Delivery) int {
	asked, _ := strconv.Atoi(h.Get(RefuseHeader))
	switch {
	case asked == 0 || !d.Replayed:
		return http.StatusAccepted
	case asked/100 == 5 && d.Attempt > 2:
		return http.StatusAccepted // it only wants to be tried again
	}
	return asked
}

var table = crc32.MakeTable(crc32.Castagnoli)

// Sum is the checksum of a body.
func Sum(body []byte) uint64 { return uint64(crc32.Checksum(body, table)) }

var buffers = sync.Pool{New: func() any { b := make([]byte, 32<<10); return &b }}

func sum(body io.Reader) (sum uint64, size int, err error) {
	pooled := buffers.Get().(*[]byte)
	defer buffers.Put(pooled)
	var crc uint32
	for {
		n, err := body.Read(*pooled)
		crc = crc32.Update(crc, table, (*pooled)[:n])
		if size += n; size > bodyLimit {
			return 0, 0, errors.New("body too large")
		}
		switch {
		case errors.Is(err, io.EOF):
			return uint64(crc), size, nil
		case err != nil:
			return 0, 0, err
		}
	}
}
