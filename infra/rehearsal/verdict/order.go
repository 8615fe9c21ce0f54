package verdict

import (
	"slices"
	"strings"
	"time"

	"sluice/infra/rehearsal/sender"
)

// place is one delivered webhook where order is concerned.
type place struct {
	webhook *sender.Webhook
	sent    time.Time // of the first try: from then on it may be delivered
	acked   time.Time
	job     int64 // its place in the order in which the app stored its jobs
}

// outOfOrder finds, lane by lane, each webhook that the app stored before
// another one which had been acknowledged before it was sent. Order holds at
// one replica's door, or across replicas when the evidence asks for it; at one
// door, a webhook whose tries went to several is left out and counted, because
// the copy that was delivered may be another door's.
func outOfOrder(e Evidence, received map[string]known) (found []Finding, left int) {
	lanes := map[[2]string][]place{}
	for i := range e.Webhooks {
		w := &e.Webhooks[i]
		ack := w.Acknowledged()
		jobs := received[w.ID].jobs
		if ack == nil || len(jobs) == 0 {
			continue
		}
		if !e.AcrossReplicas && severalDoors(w) {
			left++
			continue
		}
		first := slices.MinFunc(jobs, func(a, b Job) int { return int(a.ID - b.ID) })
		key := [2]string{w.Lane, ack.Replica}
		if e.AcrossReplicas {
			key[1] = ""
		}
		lanes[key] = append(lanes[key], place{w, w.Tries[0].Sent, ack.Done, first.ID})
	}
	for key, places := range lanes {
		found = append(found, misplaced(key, places)...)
	}
	slices.SortFunc(found, func(a, b Finding) int {
		if a.Lane != b.Lane {
			return strings.Compare(a.Lane, b.Lane)
		}
		return strings.Compare(a.ID, b.ID)
	})
	return found, left
}

func severalDoors(w *sender.Webhook) bool {
	for _, t := range w.Tries {
		if t.Replica != "" && t.Replica != w.Tries[len(w.Tries)-1].Replica {
			return true
		}
	}
	return false
}

// misplaced goes through a lane by time of sending, keeping the latest job
// among the webhooks acknowledged by then: whoever is sent now must come after.
func misplaced(key [2]string, places []place) []Finding {
	bySent := slices.Clone(places)
	slices.SortFunc(bySent, func(a, b place) int { return a.sent.Compare(b.sent) })
	byAck := slices.Clone(places)
	slices.SortFunc(byAck, func(a, b place) int { return a.acked.Compare(b.acked) })

	var found []Finding
	var latest *place
	next := 0
	for _, p := range bySent {
		for next < len(byAck) && byAck[next].acked.Before(p.sent) {
			if latest == nil || byAck[next].job > latest.job {
				latest = &byAck[next]
			}
			next++
		}
		if latest != nil && latest.job > p.job {
			found = append(found, finding(p.webhook, "job %d at %s, but %s, acknowledged %s before this was sent, is job %d",
				p.job, key[1], latest.webhook.ID, p.sent.Sub(latest.acked).Round(time.Microsecond), latest.job))
		}
	}
	return found
}
