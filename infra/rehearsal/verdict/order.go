package verdict

import (
	"slices"
	"strings"
	"time"

	"sluice/infra/rehearsal/sender"
)

// place is where one delivered webhook stands in the order of its lane.
type place struct {
	webhook *sender.Webhook
	sent    time.Time // of the first try: from then on it may be delivered
	acked   time.Time
	first   int64   // the place of its first copy in the order of deliveries
	bound   int64   // the place of the first copy that has to come after others
	judged  bool    // whether there is such a copy
	record  *Record // of that copy; nil where jobs tell the order
}

// lane is where order is promised. replica is "" when order is promised across
// replicas.
type lane struct{ name, replica string }

// outOfOrder finds, lane by lane, each webhook that the app took before another
// one which had been acknowledged before it was sent. Order is promised among
// the webhooks that one replica acknowledged, or across replicas when the
// evidence says so. Where the contract promises no order, outOfOrder counts the
// reason in excused.
func outOfOrder(e Evidence, received map[string]known, excused map[string]int) (found []Finding, left int) {
	lanes := map[lane][]place{}
	for i := range e.Webhooks {
		w := &e.Webhooks[i]
		ack := w.Acknowledged()
		k := received[w.ID]
		if ack == nil || len(k.jobs)+len(k.records) == 0 {
			continue
		}
		p, known := placeOf(e, w, k)
		if !p.judged {
			left++
		}
		if !known {
			continue
		}
		key := lane{w.Lane, ack.Replica}
		if e.AcrossReplicas {
			key.replica = ""
		}
		lanes[key] = append(lanes[key], p)
	}
	for key, places := range lanes {
		for _, m := range misplaced(places) {
			if reason := allowed(e, key, m); reason != "" {
				excused[reason]++
				continue
			}
			f := finding(m.late.webhook, "delivery %d at %s, but %s, acknowledged %s before this was sent, is delivery %d",
				m.late.bound, key.replica, m.early.webhook.ID, m.late.sent.Sub(m.early.acked).Round(time.Microsecond), m.early.first)
			f.Other = m.early.webhook.ID
			found = append(found, f)
		}
	}
	slices.SortFunc(found, func(a, b Finding) int {
		if a.Lane != b.Lane {
			return strings.Compare(a.Lane, b.Lane)
		}
		return strings.Compare(a.ID, b.ID)
	})
	return found, left
}

// placeOf returns a webhook's place. When its tries went to several replicas,
// one that did not acknowledge it may have delivered it, in an order that nobody
// promised. Where the records name the replica, only the copy that was
// acknowledged has to come after others; otherwise the webhook is left out.
func placeOf(e Evidence, w *sender.Webhook, k known) (p place, known bool) {
	ack := w.Acknowledged()
	several := !e.AcrossReplicas && severalReplicas(w)
	p = place{webhook: w, sent: w.Tries[0].Sent, acked: ack.Done}
	if !e.placed() {
		p.judged = !several
		if len(k.jobs) == 0 || several {
			return p, false
		}
		p.first = slices.MinFunc(k.jobs, func(a, b Job) int { return int(a.ID - b.ID) }).ID
		p.bound = p.first
		return p, true
	}
	for i := range k.records {
		r := &k.records[i]
		if p.first == 0 || r.Place < p.first {
			p.first = r.Place
		}
		elsewhere := several && (r.SluiceID != ack.SluiceID || !r.Replayed && r.Replica != ack.Replica)
		if !elsewhere && (p.record == nil || r.Place < p.record.Place) {
			p.record, p.bound, p.judged = r, r.Place, true
		}
	}
	return p, p.first > 0
}

func severalReplicas(w *sender.Webhook) bool {
	for _, t := range w.Tries {
		if t.Replica != "" && t.Replica != w.Tries[len(w.Tries)-1].Replica {
			return true
		}
	}
	return false
}

// swap is a webhook that was delivered before another one which had been
// acknowledged before it was sent.
type swap struct{ early, late *place }

// misplaced goes through a lane by time of sending. It remembers the latest
// delivery among the webhooks acknowledged by then: a webhook sent later must be
// delivered after it.
func misplaced(places []place) (found []swap) {
	bySent := slices.Clone(places)
	slices.SortFunc(bySent, func(a, b place) int { return a.sent.Compare(b.sent) })
	byAck := slices.Clone(places)
	slices.SortFunc(byAck, func(a, b place) int { return a.acked.Compare(b.acked) })

	var latest *place
	next := 0
	for i := range bySent {
		p := &bySent[i]
		for next < len(byAck) && byAck[next].acked.Before(p.sent) {
			if latest == nil || byAck[next].first > latest.first {
				latest = &byAck[next]
			}
			next++
		}
		if latest != nil && p.judged && latest.first > p.bound {
			found = append(found, swap{latest, p})
		}
	}
	return found
}

// Reasons for which the contract promises no order.
const (
	forcedOpen  = "the lane was opened by force, after CATCHUP_LIMIT without progress"
	passedBlind = "the sidecar had started again while the database was away, and lanes of unknown backlog pass then"
)

// allowed returns why a webhook may have been forwarded ahead of stored ones, ""
// when it may not. A replayed webhook never may.
func allowed(e Evidence, l lane, m swap) string {
	r := m.late.record
	if r == nil || e.AcrossReplicas || r.Replayed {
		return ""
	}
	for _, f := range e.Forced {
		if f.Replica == l.replica && f.Lane == l.name && f.At.Before(r.At) {
			return forcedOpen
		}
	}
	restarted := during(e.Faults, l.replica, m.early.acked, r.At, recovery, func(f *Fault) bool { return f.Forgets })
	away := during(e.Faults, l.replica, m.late.sent, r.At, recovery, func(f *Fault) bool { return f.Blinds })
	if restarted != nil && away != nil && blind(e.Blind, l.replica, m.late.sent, r.At) {
		return passedBlind
	}
	return ""
}

func blind(times []Blind, replica string, from, to time.Time) bool {
	return slices.ContainsFunc(times, func(b Blind) bool {
		return b.Replica == replica && !b.Begin.After(to) && !b.End.Before(from)
	})
}
