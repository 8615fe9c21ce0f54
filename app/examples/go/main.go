// A small app behind Sluice's sidecar. It needs a health path; the rest is what
// any webhook app does: take a webhook, do its work once, answer.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"sluice/app/drain"
	"sluice/sidecar/senders"
)

func main() {
	log := slog.New(slog.NewJSONHandler(os.Stderr, nil))
	book, err := open(os.Getenv("LEDGER"))
	if err != nil {
		log.Error("Cannot open ledger", "err", err)
		os.Exit(1)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:"+os.Getenv("PORT"))
	if err != nil {
		log.Error("Cannot listen", "err", err)
		os.Exit(1)
	}

	d := drain.New(drain.Config{Logger: log, Verify: fromSidecar})
	routes := http.NewServeMux()
	routes.Handle("POST /webhooks/", d.Requests(webhook(book)))
	routes.Handle("POST /hooks/", d.Requests(webhook(book)))
	routes.Handle("/drain", d.Handler())
	routes.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		if d.Counts().Draining {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	server := &http.Server{Handler: routes}
	go func() { _ = server.Serve(listener) }()
	d.OnStop("http", server.Shutdown)

	os.Exit(d.Wait(context.Background())) // waits for SIGTERM or POST /drain, then for the work under way
}

// fromSidecar verifies that POST /drain comes from the sidecar.
func fromSidecar(r *http.Request) error {
	if secret := os.Getenv("SLUICE_SECRET"); secret != "" {
		return senders.VerifyDrain(r.Header, []string{secret}, time.Now())
	}
	return nil
}

func webhook(book *ledger) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 25<<20))
		if err != nil {
			http.Error(w, "body not readable", http.StatusBadRequest)
			return
		}
		// The sidecar has verified the sender; this verifies the sidecar.
		if secret := os.Getenv("SLUICE_SECRET"); secret != "" {
			if _, err := senders.VerifySluice(r.Header, body, []string{secret}); err != nil {
				http.Error(w, err.Error(), http.StatusUnauthorized)
				return
			}
		}
		// Store before the answer: after it the sidecar no longer has the webhook.
		if err := book.once(r.Header.Get("Sluice-Id"), body); err != nil {
			http.Error(w, "try again", http.StatusServiceUnavailable)
		}
	})
}

// ledger stands for the app's database. It has one line for each Sluice-Id, which
// is on disk before once returns.
type ledger struct {
	mu   sync.Mutex
	file *os.File
	seen map[string]bool
}

type entry struct {
	ID   string `json:"id"`
	Body []byte `json:"body"`
}

func open(name string) (*ledger, error) {
	file, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	l := &ledger{file: file, seen: map[string]bool{}}
	for lines := bufio.NewReader(file); ; {
		line, err := lines.ReadBytes('\n')
		var e entry
		if json.Unmarshal(line, &e) == nil {
			l.seen[e.ID] = true
		}
		if errors.Is(err, io.EOF) {
			return l, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

func (l *ledger) once(id string, body []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.seen[id] {
		return nil
	}
	line, err := json.Marshal(entry{id, body})
	if err != nil {
		return err
	}
	if _, err := l.file.Write(append(line, '\n')); err != nil {
		return err
	}
	if err := l.file.Sync(); err != nil {
		return err
	}
	l.seen[id] = true
	return nil
}
