package drain_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"

	"sluice/app/drain"
)

// A program with a web server and jobs of its own. SIGTERM or POST /drain begins
// the drain: new requests get 503, new jobs stay in their queue, work under way
// finishes, then server and queue are closed in that order.
func Example() {
	d := drain.New(drain.Config{Logger: slog.New(slog.DiscardHandler)})

	mux := http.NewServeMux()
	mux.Handle("/work/", d.Requests(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "done")
	})))
	mux.Handle("/drain", d.Handler())
	server := &http.Server{Handler: mux}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()

	job := func() error {
		done, ok := d.StartJob()
		if !ok {
			return nil // the drain has begun: the job stays in its queue
		}
		defer done()
		// d.Cut() ends when the job must stop and go back to the queue.
		return d.Cut().Err()
	}
	if err := job(); err != nil {
		fmt.Println(err)
	}

	d.OnBegin(func() { fmt.Println("stop fetching jobs") })
	d.OnStop("http", func(ctx context.Context) error {
		fmt.Println("close the server")
		err := server.Shutdown(ctx)
		<-served
		return err
	})
	d.OnStop("queue", func(context.Context) error {
		fmt.Println("close the queue")
		return nil
	})

	d.Begin("the example is over") // as SIGTERM does
	fmt.Println("exit code", d.Wait(context.Background()))
	// Output:
	// stop fetching jobs
	// close the server
	// close the queue
	// exit code 0
}
