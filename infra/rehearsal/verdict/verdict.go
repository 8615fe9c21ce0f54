// Package verdict judges a rehearsal by its evidence.
//
// It is pure: ledger, records and jobs in, a verdict out. It defines lost,
// duplicated and out of order. It must never rely on what the sidecar says about
// itself, except where the contract excuses what the sidecar logs. Packages
// rehearsal and chaos call it when a run is over.
package verdict

import (
	"fmt"
	"slices"
	"time"

	"sluice/infra/rehearsal/sender"
)

// Verdict is the outcome of a run.
type Verdict struct {
	Sent         int `json:"sent"`         // webhooks
	Acknowledged int `json:"acknowledged"` // webhooks that got a 2xx
	Refused      int `json:"refused"`      // tries that got no 2xx
	GivenUp      int `json:"given_up"`     // webhooks whose sender never got a 2xx
	Held         int `json:"held"`         // webhooks that the sidecar held and acknowledged
	Delivered    int `json:"delivered"`    // webhooks whose job ran to its end

	Lost       []Finding `json:"lost"`         // acknowledged and never delivered
	OutOfOrder []Finding `json:"out_of_order"` // delivered before one that was acknowledged before it was sent
	Stored     int       `json:"stored"`       // of the lost, those that are still stored
	Unordered  int       `json:"unordered"`    // webhooks whose order cannot be judged: tried at several replicas
	// Excused counts webhooks out of order where the contract promises none, by
	// the reason.
	Excused     map[string]int `json:"excused"`
	Damaged     []Finding      `json:"damaged"`     // delivered with another body
	Unexplained []Finding      `json:"unexplained"` // delivered more than once without a reason
	Wrong       []Finding      `json:"wrong"`       // refused with anything but a 503
	Duplicated  int            `json:"duplicated"`  // webhooks delivered more than once, explained or not
	// Explained counts deliveries beyond the first by the reason that allows them.
	Explained map[string]int `json:"explained"`
	// Unasked counts webhooks that were delivered though their sender got no
	// acknowledgement, which at-least-once allows.
	Unasked int `json:"delivered_unacknowledged"`

	Answers map[string]int `json:"answers"` // tries by status, "none" for no answer

	LongestAck time.Duration `json:"longest_ack_ns"`
	P50Ack     time.Duration `json:"p50_ack_ns"`
	P99Ack     time.Duration `json:"p99_ack_ns"`
}

// Finding is one webhook that something is wrong with.
type Finding struct {
	ID     string `json:"rehearsal_id"`
	Lane   string `json:"lane"`
	Reason string `json:"reason"`
	// Other is the webhook that this one overtook.
	Other string `json:"other_rehearsal_id,omitempty"`
}

// placed reports whether the records themselves say in which order the webhooks
// were taken; otherwise the jobs do.
func (e *Evidence) placed() bool { return len(e.Records) > 0 && e.Records[0].Place > 0 }

// Good reports whether nothing is wrong.
func (v *Verdict) Good() bool {
	return len(v.Lost)+len(v.OutOfOrder)+len(v.Damaged)+len(v.Unexplained)+len(v.Wrong) == 0
}

// known is what the receiving side knows about one webhook.
type known struct {
	records []Record
	jobs    []Job
}

// Judge reaches the verdict.
func Judge(e Evidence) *Verdict {
	v := &Verdict{Explained: map[string]int{}, Answers: map[string]int{}, Excused: map[string]int{}}
	received := receivedBy(e)
	var acks []time.Duration
	for i := range e.Webhooks {
		w := &e.Webhooks[i]
		if w.Direct && w.Acknowledged() == nil {
			continue // posted straight to a replica that did not accept yet
		}
		v.Sent++
		v.countTries(w, e.Faults)
		k := received[w.ID]
		ack := w.Acknowledged()
		switch {
		case ack != nil:
			v.Acknowledged++
			acks = append(acks, ack.Done.Sub(ack.Sent))
			if ack.Held {
				v.Held++
			}
			if len(k.records) == 0 {
				v.Lost = append(v.Lost, finding(w, "%s", lostReason(k, ack, e)))
				if e.Stored[ack.SluiceID] != "" {
					v.Stored++
				}
			}
		case len(k.records) > 0:
			v.Unasked++
			fallthrough
		default:
			v.GivenUp++
		}
		v.countDeliveries(w, k, e)
	}
	v.OutOfOrder, v.Unordered = outOfOrder(e, received, v.Excused)
	if len(acks) > 0 {
		slices.Sort(acks)
		v.LongestAck = acks[len(acks)-1]
		v.P50Ack = acks[len(acks)/2]
		v.P99Ack = acks[min(len(acks)-1, len(acks)*99/100)]
	}
	return v
}

// receivedBy gathers records and jobs by the rehearsal's own id. A job has
// only a Sluice-Id; the job's record or the answer to the sender says which
// webhook that is.
func receivedBy(e Evidence) map[string]known {
	received := make(map[string]known, len(e.Webhooks))
	bySluice := make(map[string]string, len(e.Webhooks))
	for _, r := range e.Records {
		k := received[r.ID]
		k.records = append(k.records, r)
		received[r.ID] = k
		bySluice[r.SluiceID] = r.ID
	}
	for i := range e.Webhooks {
		for _, t := range e.Webhooks[i].Tries {
			if t.SluiceID != "" {
				bySluice[t.SluiceID] = e.Webhooks[i].ID
			}
		}
	}
	for _, j := range e.Jobs {
		id, ok := bySluice[j.SluiceID]
		if !ok {
			continue
		}
		k := received[id]
		k.jobs = append(k.jobs, j)
		received[id] = k
	}
	return received
}

func (v *Verdict) countTries(w *sender.Webhook, faults []Fault) {
	for _, t := range w.Tries {
		answer := "none"
		if t.Status != 0 {
			answer = fmt.Sprint(t.Status)
		}
		v.Answers[answer]++
		if t.Acknowledged() {
			continue
		}
		v.Refused++
		if t.Status == 0 && silenced(faults, t.Replica, t.Sent, t.Done) {
			continue
		}
		if t.Status != 503 {
			v.Wrong = append(v.Wrong, finding(w, "answered %s by %q instead of 503 %s", answer, t.Replica, t.Err))
		}
	}
}

func lostReason(k known, ack *sender.Try, e Evidence) string {
	where := fmt.Sprintf("acknowledged %d by %s, Sluice-Id %s, held %v", ack.Status, ack.Replica, ack.SluiceID, ack.Held)
	if row := e.Stored[ack.SluiceID]; row != "" {
		return where + ": still stored as " + row
	}
	if e.placed() {
		return where + ": no app has taken it"
	}
	if len(k.jobs) == 0 {
		return where + ": the app has no job for it"
	}
	return fmt.Sprintf("%s: the app has job %d for it, in state %q", where, k.jobs[0].ID, k.jobs[0].State)
}

// Reasons for a delivery beyond the first, as design.md 5 allows them.
const (
	ranAgain           = "a job that ran again because its app died before it recorded the end"
	triedMore          = "an earlier try, never acknowledged, had reached the app too"
	repeatedByBalancer = "the balancer repeated the request"
)

// countDeliveries explains every delivery of w beyond the first.
func (v *Verdict) countDeliveries(w *sender.Webhook, k known, e Evidence) {
	if len(k.records) == 0 {
		return
	}
	v.Delivered++
	runs := map[string][]Record{}
	for _, r := range k.records {
		runs[r.SluiceID] = append(runs[r.SluiceID], r)
		if r.Hash != w.Hash || r.Bytes != w.Bytes {
			v.Damaged = append(v.Damaged, finding(w, "sent %d bytes, hash %016x; delivered %d bytes, hash %016x",
				w.Bytes, w.Hash, r.Bytes, r.Hash))
		}
	}
	if len(k.records) > 1 {
		v.Duplicated++
	}
	for id, records := range runs {
		switch {
		case len(records) == 1:
		case e.placed():
			v.countRepeats(w, records, e.Faults)
		default:
			v.countRuns(w, id, len(records), k.jobs)
		}
	}
	v.countCopies(w, len(runs)-1, e.BalancerRetries)
}

// countRuns explains that the job of one receipt ran n times.
func (v *Verdict) countRuns(w *sender.Webhook, id string, n int, all []Job) {
	jobs, attempts := 0, 0
	for _, j := range all {
		if j.SluiceID == id {
			jobs++
			attempts = max(attempts, j.Attempt)
		}
	}
	if jobs <= 1 && attempts >= n {
		v.Explained[ranAgain] += n - 1
		return
	}
	v.Unexplained = append(v.Unexplained, finding(w, "Sluice-Id %s ran %d times, as %d jobs of %d attempts", id, n, jobs, attempts))
}

// countRepeats explains the deliveries of one receipt by what happened to the
// replica that began the one before. A slow app may get a webhook first
// and take it last.
func (v *Verdict) countRepeats(w *sender.Webhook, records []Record, faults []Fault) {
	slices.SortFunc(records, func(a, b Record) int { return a.Begun.Compare(b.Begun) })
	for i := range len(records) - 1 {
		if f := repeated(faults, &records[i]); f != nil {
			v.Explained["delivered again after: "+f.Kind]++
			continue
		}
		if f := storedAgain(faults, w); f != nil {
			v.Explained["stored again, since the answer to the first commit was lost: "+f.Kind]++
			continue
		}
		v.Unexplained = append(v.Unexplained, finding(w, "Sluice-Id %s was taken by %s at %s and again by %s at %s",
			records[i].SluiceID, records[i].Replica, clock(records[i].At), records[i+1].Replica, clock(records[i+1].At)))
	}
}

func clock(at time.Time) string { return at.UTC().Format("15:04:05.000") }

// countCopies explains that more receipts than one of a webhook were delivered.
func (v *Verdict) countCopies(w *sender.Webhook, more, balancerRetries int) {
	unacknowledged := len(w.Tries)
	if w.Acknowledged() != nil {
		unacknowledged--
	}
	switch {
	case more == 0:
	case more <= unacknowledged:
		v.Explained[triedMore] += more
	case more <= unacknowledged+balancerRetries*len(w.Tries):
		v.Explained[repeatedByBalancer] += more
	default:
		v.Unexplained = append(v.Unexplained, finding(w, "%d Sluice-Ids for %d tries", more+1, len(w.Tries)))
	}
}

func finding(w *sender.Webhook, format string, args ...any) Finding {
	return Finding{ID: w.ID, Lane: w.Lane, Reason: fmt.Sprintf(format, args...)}
}
