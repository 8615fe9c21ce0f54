// Package actions does what a hook says: here it runs a command. It owns the
// processes it starts and leaves none behind. It must never decide whether an
// action runs, retry it or store its outcome: the jobs package does.
package actions

import (
	"io"
	"time"
)

// Call is one run of an action for one webhook.
type Call struct {
	ID         string // Sluice-Id
	Source     string
	DeliveryID string
	Event      string
	Hook       string
	ReceivedAt time.Time
	Attempt    int
	Body       io.Reader // the payload, byte for byte
}

// Outcome is what is kept of a run.
type Outcome struct {
	ExitCode   int    `json:"exit_code"`
	DurationMS int64  `json:"duration_ms"`
	Output     string `json:"output,omitempty"` // the tail of what it wrote, valid UTF-8
	Truncated  bool   `json:"truncated,omitempty"`
}
