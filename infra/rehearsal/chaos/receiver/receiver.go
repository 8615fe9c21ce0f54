// Package receiver is the app of a chaos run: it records each webhook and
// answers, with so little work that the sidecars get the machine.
//
// It owns the file to which all apps of a run append one line for each webhook
// before they answer. The order of the lines is the order in which the apps took
// the webhooks. A webhook's header fields can ask it to answer late or to refuse
// the webhook at replay. It must never decide anything by itself. Package chaos
// runs it as a process and reads the file.
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

// Header fields that carry a webhook's id and say what the app shall do with it.
const (
	IDHeader     = "Chaos-Id"
	LateHeader   = "Chaos-Late"   // milliseconds that the app waits before it takes the webhook, if its sender waits
	RefuseHeader = "Chaos-Refuse" // the status of the answer to its first replay, or to every replay for a 4xx
)

const (
	bodyLimit = 32 << 20
	drainPoll = 20 * time.Millisecond
)

// Options say where the app listens and for which replica.
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

// Serve answers until ctx ends. Then it refuses with 503, finishes the requests it
// has begun and returns.
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

// endWhenIdle closes the server once ctx has ended and no request is open.
func (a *app) endWhenIdle(ctx context.Context, server *http.Server) {
	<-ctx.Done()
	for idle := 0; idle < 3; <-time.After(drainPoll) {
		idle++
		if a.busy.Load() > 0 {
			idle = 0
		}
	}
	_ = server.Close() // nothing is waiting for its connections any more
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
	d.Attempt, _ = strconv.Atoi(r.Header.Get("Sluice-Attempt")) // 0 when the field is missing
	var err error
	if d.Sum, d.Bytes, err = sum(r.Body); err != nil {
		w.WriteHeader(http.StatusBadRequest) // the body was cut off, so the answer is not read
		return
	}
	d.Status = status(r.Header, d)
	if late, _ := strconv.Atoi(r.Header.Get(LateHeader)); late > 0 && !d.Replayed {
		<-time.After(time.Duration(late) * time.Millisecond) // recorded even when the sender has hung up
	}
	d.Done = time.Now()
	if _, err := a.records.Write(d.line()); err != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Length", "0")
	w.WriteHeader(d.Status)
}

// status is the status that a webhook asks for. A forwarded webhook is always
// accepted, since its sender would get any other answer.
func status(h http.Header, d Delivery) int {
	asked, _ := strconv.Atoi(h.Get(RefuseHeader))
	switch {
	case asked == 0 || !d.Replayed:
		return http.StatusAccepted
	case asked/100 == 5 && d.Attempt > 2:
		return http.StatusAccepted // a 5xx asks for one more try only
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
