package verdict

import (
	"time"

	"sluice/infra/rehearsal/sender"
)

// Fault is something that was done to a replica or to the database, and what
// the contract allows to follow from it.
type Fault struct {
	Kind    string    `json:"kind"`              // "sidecar killed"
	Replica string    `json:"replica,omitempty"` // "" for what hits every replica
	Begin   time.Time `json:"begin"`
	End     time.Time `json:"end"`

	Silences bool `json:"-"` // a sender at the replica may get no answer
	Repeats  bool `json:"-"` // what the replica delivers may be delivered again
	Forgets  bool `json:"-"` // the sidecar that starts again knows nothing of what is stored
	Blinds   bool `json:"-"` // the replica can't reach the database
}

const (
	// settling is how long a sidecar may take to note what the app has answered.
	settling = 2 * time.Second
	// recovery is how long a fault may be felt after its end: connections are
	// made again, leases that lapsed meanwhile change hands.
	recovery = 5 * time.Second
	// hangingUp is how long after its end a fault may still cost an answer.
	hangingUp = time.Second
)

// during returns the first fault of a replica that can be felt between from and
// to, until after its end, and is of the wanted sort.
func during(faults []Fault, replica string, from, to time.Time, after time.Duration, wanted func(*Fault) bool) *Fault {
	for i := range faults {
		f := &faults[i]
		if (f.Replica == "" || f.Replica == replica) && !f.Begin.After(to) && !f.End.Add(after).Before(from) && wanted(f) {
			return f
		}
	}
	return nil
}

// repeated returns the fault for which a record's webhook was delivered again,
// nil when nothing happened that allows it.
func repeated(faults []Fault, r *Record) *Fault {
	return during(faults, r.Replica, r.Begun, r.At.Add(settling), recovery, func(f *Fault) bool { return f.Repeats })
}

// storedAgain returns the fault for which a replica that a webhook was sent to
// may have stored it twice, nil when nothing happened to any of them meanwhile:
// it can't know whether a commit whose answer it lost has come about, and the
// first row may have been delivered before it asks again.
func storedAgain(faults []Fault, w *sender.Webhook) *Fault {
	for _, t := range w.Tries {
		if f := during(faults, t.Replica, t.Sent, t.Done, 0, func(f *Fault) bool { return f.Repeats }); f != nil {
			return f
		}
	}
	return nil
}

// silenced reports whether a sender may have got no answer from a replica.
func silenced(faults []Fault, replica string, sent, done time.Time) bool {
	return during(faults, replica, sent, done, hangingUp, func(f *Fault) bool { return f.Silences }) != nil
}
