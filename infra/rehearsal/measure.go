package rehearsal

import (
	"context"
	"net/http"
	"time"

	"sluice/infra/rehearsal/replica"
	"sluice/infra/rehearsal/report"
	"sluice/infra/rehearsal/sender"
	"sluice/infra/rehearsal/verdict"
)

const (
	coldStartLimit = 30 * time.Second
	firstHoldLimit = 2 * time.Second
	healthEvery    = 5 * time.Millisecond
)

// appHealth is an app's process and its first good health.
type appHealth struct {
	replica          string
	started, healthy time.Time // healthy is zero until it is
}

// timeColdStart posts to a sidecar from the start of its process until it accepts
// a webhook.
func (s *stage) timeColdStart(ctx context.Context, name string, p replica.Ports, started time.Time) {
	ctx, cancel := context.WithTimeout(ctx, coldStartLimit)
	defer cancel()
	done, err := s.fleet.PostUntil(ctx, name, "http://"+replica.Addr(p.Public), sender.Try.Acknowledged)
	if err != nil {
		return // the run ended, or the process did: its end is in the timeline
	}
	s.log.AddAt(done, name, "sidecar accepted its first webhook")
	s.mu.Lock()
	defer s.mu.Unlock()
	s.latencies.ColdStart = append(s.latencies.ColdStart, done.Sub(started))
}

// timeFirstHold posts one webhook after the other from the moment of SIGTERM
// until one is held.
func (s *stage) timeFirstHold(ctx context.Context, r *replica.Replica, signalled time.Time) {
	ctx, cancel := context.WithTimeout(ctx, firstHoldLimit)
	defer cancel()
	held := func(t sender.Try) bool { return t.Held }
	done, err := s.fleet.PostUntil(ctx, r.Name, "http://"+replica.Addr(r.Ports.Public), held)
	if err != nil {
		return // nothing was held: the report says that there is no value
	}
	s.log.AddAt(done, r.Name, "first webhook held after SIGTERM")
	s.mu.Lock()
	defer s.mu.Unlock()
	s.latencies.FirstHold = append(s.latencies.FirstHold, done.Sub(signalled))
}

// timeHealth polls an app from the start of its process until it is healthy.
func (s *stage) timeHealth(ctx context.Context, name string, p replica.Ports, started time.Time) {
	ctx, cancel := context.WithTimeout(ctx, readyLimit)
	defer cancel()
	s.mu.Lock()
	mine := len(s.appHealth)
	s.appHealth = append(s.appHealth, appHealth{replica: name, started: started})
	s.mu.Unlock()
	for ; ctx.Err() == nil; pause(ctx, healthEvery) {
		ok := healthy(ctx, "http://"+replica.Addr(p.App)+"/healthz")
		if s.restarted(mine) {
			return // the answer came from a later process, which has a poll of its own
		}
		if ok {
			at := s.log.Add(name, "app healthy")
			s.mu.Lock()
			s.appHealth[mine].healthy = at
			s.mu.Unlock()
			return
		}
	}
}

// restarted reports whether the app has been started again since.
func (s *stage) restarted(mine int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, later := range s.appHealth[mine+1:] {
		if later.replica == s.appHealth[mine].replica {
			return true
		}
	}
	return false
}

func healthy(ctx context.Context, url string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	resp, err := local.Do(req)
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// firstReplays finds, for each start of an app, when the first of the webhooks
// that waited for it became a job.
func firstReplays(starts []appHealth, waits []wait) []time.Duration {
	var found []time.Duration
	for _, start := range starts {
		var first time.Time
		if start.healthy.IsZero() {
			continue
		}
		for _, w := range waits {
			// A sidecar may see that the app is healthy before our poll does. After
			// the start of the process only this app can have taken the webhook.
			if w.held.Before(start.healthy) && w.taken.After(start.started) && (first.IsZero() || w.taken.Before(first)) {
				first = w.taken
			}
		}
		if !first.IsZero() {
			found = append(found, max(0, first.Sub(start.healthy)))
		}
	}
	return found
}

// wait is a held webhook: when it was acknowledged and when the app took it.
// taken is zero when the app never took it.
type wait struct{ held, taken time.Time }

// heldToTaken is how long each webhook that was held since then waited for an app.
func heldToTaken(since time.Time, waits []wait) (all []time.Duration) {
	for _, w := range waits {
		if w.held.After(since) && !w.taken.IsZero() {
			// The app may take it before its sender has read the acknowledgement.
			all = append(all, max(0, w.taken.Sub(w.held)))
		}
	}
	return all
}

func waits(e verdict.Evidence) []wait {
	taken := make(map[string]time.Time, len(e.Jobs))
	for _, j := range e.Jobs {
		if at, ok := taken[j.SluiceID]; !ok || j.Created.Before(at) {
			taken[j.SluiceID] = j.Created
		}
	}
	var found []wait
	for i := range e.Webhooks {
		if ack := e.Webhooks[i].Acknowledged(); ack != nil && ack.Held {
			found = append(found, wait{ack.Done, taken[ack.SluiceID]})
		}
	}
	return found
}

// open samples how many webhooks had been sent and not arrived, over the run.
func open(begin, end time.Time, e verdict.Evidence) []report.Open {
	const samples = 400
	step := max(end.Sub(begin)/samples, time.Millisecond)
	points := make([]report.Open, int(end.Sub(begin)/step)+2)
	slot := func(at time.Time) int {
		return min(max(int((at.Sub(begin)+step-1)/step), 0), len(points)-1)
	}
	arrived := make(map[string]time.Time, len(e.Records))
	for _, r := range e.Records {
		if at, ok := arrived[r.ID]; !ok || r.At.Before(at) {
			arrived[r.ID] = r.At
		}
	}
	for i := range e.Webhooks {
		w := &e.Webhooks[i]
		if len(w.Tries) == 0 {
			continue
		}
		points[slot(w.Tries[0].Sent)].Webhooks++
		if at, ok := arrived[w.ID]; ok {
			points[slot(at)].Webhooks--
		}
	}
	for i := range points {
		points[i].At = time.Duration(i) * step
		if i > 0 {
			points[i].Webhooks += points[i-1].Webhooks
		}
	}
	return points
}

// curve samples the held and the replayed webhooks over the run.
func curve(begin, end time.Time, waits []wait) []report.Point {
	const samples = 400
	step := max(end.Sub(begin)/samples, time.Millisecond)
	points := make([]report.Point, int(end.Sub(begin)/step)+2)
	slot := func(at time.Time) int {
		return min(max(int((at.Sub(begin)+step-1)/step), 0), len(points)-1)
	}
	for _, w := range waits {
		points[slot(w.held)].Held++
		if !w.taken.IsZero() {
			points[slot(w.taken)].Replayed++
		}
	}
	for i := range points {
		points[i].At = time.Duration(i) * step
		if i > 0 {
			points[i].Held += points[i-1].Held
			points[i].Replayed += points[i-1].Replayed
		}
	}
	return points
}
