package verdict

import (
	"time"

	"sluice/infra/rehearsal/sender"
)

// Fault is something that was done to a replica or to the database, with the
// effects that the contract allows.
type Fault struct {
	Kind    string    `json:"kind"`              // "sidecar killed"
	Replica string    `json:"replica,omitempty"` // "" when it concerns every replica
	Begin   time.Time `json:"begin"`
	End     time.Time `json:"end"`

	Silences bool `json:"-"` // a sender at the replica may get no answer
	Repeats  bool `json:"-"` // what the replica delivers may be delivered again
	Forgets  bool `json:"-"` // the sidecar starts again and does not know what is stored
	Blinds   bool `json:"-"` // the replica can't reach the database
}

const (
	// settleTime is how long a sidecar may take to record the app's answer.
	settleTime = 2 * time.Second
	// recovery is how long a fault may have effects after its end: connections
	// are opened again, and leases that ran out go to other replicas.
	recovery = 5 * time.Second
	// hangingUp is how long after its end a fault may still cost a sender its
	// answer.
	hangingUp = time.Second
)

// during returns the first wanted fault of a replica that has effects between from
// and to. A fault has effects until the given time after its end.
func during(faults []Fault, replica string, from, to time.Time, after time.Duration, wanted func(*Fault) bool) *Fault {
	for i := range faults {
		f := &faults[i]
		if (f.Replica == "" || f.Replica == replica) && !f.Begin.After(to) && !f.End.Add(after).Before(from) && wanted(f) {
			return f
		}
	}
	return nil
}

// repeated returns the fault that explains why a record's webhook was delivered
// again, nil when no fault does.
func repeated(faults []Fault, r *Record) *Fault {
	return during(faults, r.Replica, r.Begun, r.At.Add(settleTime), recovery, func(f *Fault) bool { return f.Repeats })
}

// storedAgain returns the fault that explains why a replica stored a webhook
// twice, nil when no fault does. A replica that lost the answer to a commit cannot
// know its outcome, and the first row may be delivered before it asks again.
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
