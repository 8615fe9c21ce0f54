package testkit

import (
	"bytes"
	"encoding/json"
	"strings"
	"sync"
)

// Output collects what a process prints or a logger writes. The zero value is
// ready, and safe for concurrent use.
type Output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *Output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *Output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// Count returns how often a text occurs.
func (o *Output) Count(text string) int { return strings.Count(o.String(), text) }

// Tail returns the last lines.
func (o *Output) Tail(lines int) string {
	all := strings.Split(strings.TrimSpace(o.String()), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// Records returns the records of a JSON log with that message.
func (o *Output) Records(message string) (found []map[string]any) {
	for line := range strings.Lines(o.String()) {
		var record map[string]any
		if json.Unmarshal([]byte(line), &record) == nil && record["msg"] == message {
			found = append(found, record)
		}
	}
	return found
}

// Reset drops what was collected.
func (o *Output) Reset() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text.Reset()
}
