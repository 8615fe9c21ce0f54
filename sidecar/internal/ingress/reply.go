package ingress

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"sluice/sidecar/internal/lifecycle"
	"sluice/sidecar/internal/upstream"
	"sluice/sidecar/senders"
)

const stopped = lifecycle.Stopped

// reply is the answer to a webhook, not yet written.
type reply struct {
	status   int
	id       string // Sluice-Id, "" when none was given
	fields   []byte // lines ended by CRLF
	body     []byte
	exchange *upstream.Exchange // the app's answer, whose body is relayed; nil for our own
	length   int64              // of that body, -1 when unknown
	done     func()             // called when the reply is written, nil for none
}

// end gives back what the reply held. The caller calls it once.
func (r *reply) end() {
	if r.exchange != nil {
		r.exchange.Close()
	}
	if r.done != nil {
		r.done()
	}
}

func textReply(status int, line string) reply {
	return reply{status: status, fields: []byte("Content-Type: text/plain; charset=utf-8\r\n"), body: []byte(line + "\n")}
}

func heldReply(status int, id string) reply {
	r := reply{status: status, id: id, fields: []byte("Sluice-Status: held\r\n")}
	if status != http.StatusNoContent {
		r.fields = append(r.fields, "Content-Type: application/json\r\n"...)
		r.body = []byte(`{"status":"held","id":"` + id + `"}`)
	}
	return r
}

func answerReply(a senders.Answer) reply {
	r := reply{status: a.Status, body: a.Body}
	add := func(name, value string) {
		if value != "" && !strings.ContainsAny(value, "\r\n\x00") {
			r.fields = append(r.fields, name+": "+value+"\r\n"...)
		}
	}
	add("Content-Type", a.ContentType)
	for name, value := range a.Header {
		add(name, value)
	}
	return r
}

// writeHTTP writes the reply through net/http.
func (r *reply) writeHTTP(w http.ResponseWriter) {
	h := w.Header()
	for fields := string(r.fields); fields != ""; {
		var line string
		line, fields, _ = strings.Cut(fields, "\r\n")
		name, value, _ := strings.Cut(line, ":")
		h.Add(name, strings.TrimSpace(value))
	}
	if r.id != "" {
		h.Set("Sluice-Id", r.id)
	}
	if r.exchange == nil {
		if r.status != http.StatusNoContent {
			h.Set("Content-Length", strconv.Itoa(len(r.body)))
		}
		w.WriteHeader(r.status)
		w.Write(r.body)
		return
	}
	if r.length >= 0 && r.status != http.StatusNoContent && r.status != http.StatusNotModified {
		h.Set("Content-Length", strconv.FormatInt(r.length, 10))
	}
	w.WriteHeader(r.status)
	if _, err := io.Copy(w, r.exchange.Body()); err != nil {
		// The head is out: only a broken connection tells the sender.
		panic(http.ErrAbortHandler)
	}
}

// pause waits without anybody to interrupt it; what calls it is bounded.
func pause(d time.Duration) { <-time.After(d) }
