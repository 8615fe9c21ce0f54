// Package sender posts signed webhooks as GitHub, Slack and others do.
//
// It makes and signs the webhooks and owns the ledger, which records every try
// with its answer. A sender is sequential: it posts its next webhook only when
// the last one is answered, so that "acknowledged before the next was sent" can
// be judged. It must never import the code that verifies signatures, nor post
// anything that the ledger does not show. Package rehearsal and the command
// infra/cmd/sender call it.
package sender

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"sluice/infra/rehearsal/balancer"
)

const (
	retryPause   = time.Second // after a refusal that names no time
	longestPause = 30 * time.Second
	betweenPosts = 2 * time.Millisecond
)

// Options say what is sent.
type Options struct {
	URL      string // of the balancer
	Rate     int    // webhooks per second, all senders together
	Count    int    // webhooks in all
	PerLane  int    // sequential senders for each lane
	Lanes    int    // for each source; with more than one the receiver needs LaneKeys
	Bytes    int    // per body
	Retry    bool   // false: no sender retries. GitHub never does
	MaxTries int
	Secrets  Secrets
	// Seed makes the ids of the webhooks, so that two fleets with the same one send
	// the same; 0 makes fresh ones.
	Seed uint64
}

// Fleet is all the senders of a run.
type Fleet struct {
	Ledger Ledger

	options Options
	client  *http.Client
	work    sync.WaitGroup
}

// New makes the senders; Close frees their connections.
func New(o Options) *Fleet {
	return &Fleet{options: o, client: &http.Client{
		Transport: &http.Transport{
			MaxIdleConnsPerHost: len(kinds)*o.Lanes*o.PerLane + 1,
			DisableCompression:  true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// LaneKeys is the value of LANES under which each key of each source is a lane
// of its own.
func LaneKeys() string {
	var keys []string
	for _, k := range kinds {
		keys = append(keys, k.source+":"+k.keyPath)
	}
	return strings.Join(keys, ",")
}

// Run posts all webhooks at the set rate and returns when each has been
// acknowledged or given up, or ctx ends. A sender that a refusal delayed
// catches up afterwards.
func (f *Fleet) Run(ctx context.Context) {
	senders := len(kinds) * f.options.Lanes * f.options.PerLane
	interval := time.Duration(senders) * time.Second / time.Duration(f.options.Rate)
	start := time.Now()
	for i := range senders {
		count := f.options.Count / senders
		if i < f.options.Count%senders {
			count++
		}
		k, lane := kinds[i%len(kinds)], i/len(kinds)%f.options.Lanes
		offset := interval * time.Duration(i) / time.Duration(senders)
		f.work.Go(func() {
			for n := range count {
				if !Pause(ctx, time.Until(start.Add(offset+interval*time.Duration(n)))) {
					return
				}
				f.send(ctx, f.options.URL, k, lane, i, n, 0)
			}
		})
	}
	f.work.Wait()
}

// Burst posts n webhooks whose jobs take the given time to work on, one after
// the other.
func (f *Fleet) Burst(ctx context.Context, n int, work time.Duration) {
	for i := range n {
		f.send(ctx, f.options.URL, kinds[i%len(kinds)], 0, -1, i, work)
	}
}

// PostUntil posts to one sidecar, past the balancer, until an answer satisfies
// enough, and returns the time of that answer. It shows what a sender meets in
// the first moments of a sidecar or of a shutdown.
func (f *Fleet) PostUntil(ctx context.Context, replica, base string, enough func(Try) bool) (time.Time, error) {
	k := kinds[len(kinds)-1]
	for n := 0; ctx.Err() == nil; n++ {
		w, body := compose(k, ids(0, 0, 0), 0, -1, n, f.options.Bytes, 0)
		w.Direct = true
		f.lane(&w, 0)
		try := f.post(ctx, base, k, &w, body)
		if try.Status != 0 {
			try.Replica = replica
		}
		w.Tries = append(w.Tries, try)
		if !strings.Contains(try.Err, "refused") { // no listener yet: nothing was sent
			f.Ledger.add(w)
		}
		if enough(try) {
			return try.Done, nil
		}
		if !try.Acknowledged() {
			Pause(ctx, betweenPosts)
		}
	}
	return time.Time{}, fmt.Errorf("post to %s: %w", replica, context.Cause(ctx))
}

// send posts one webhook until it is acknowledged or given up.
func (f *Fleet) send(ctx context.Context, base string, k kind, lane, sender, sequence int, work time.Duration) {
	w, body := compose(k, ids(f.options.Seed, sender, sequence), lane, sender, sequence, f.options.Bytes, work)
	f.lane(&w, lane)
	for {
		try := f.post(ctx, base, k, &w, body)
		w.Tries = append(w.Tries, try)
		again := k.retries && f.options.Retry && len(w.Tries) < f.options.MaxTries
		if try.Acknowledged() || !again || !Pause(ctx, retryAfter(try)) {
			f.Ledger.add(w)
			return
		}
	}
}

func (f *Fleet) lane(w *Webhook, lane int) {
	if f.options.Lanes > 1 {
		w.Lane += "/" + strconv.Itoa(lane)
	}
}

// post makes one try and waits for its answer.
func (f *Fleet) post(ctx context.Context, base string, k kind, w *Webhook, body []byte) Try {
	// Wait for the answer even when the run ends: a webhook with an unknown
	// outcome proves nothing.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), k.timeout)
	defer cancel()
	try := Try{Sent: time.Now()}
	fail := func(err error) Try {
		try.Done, try.Err = time.Now(), err.Error()
		return try
	}
	req, err := request(k, w, f.options.Secrets, base, body, try.Sent)
	if err != nil {
		return fail(err)
	}
	try.Sent = time.Now()
	resp, err := f.client.Do(req.WithContext(ctx))
	if err != nil {
		return fail(err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20)); err != nil {
		return fail(err)
	}
	try.Done = time.Now()
	try.Status = resp.StatusCode
	try.Replica = resp.Header.Get(balancer.ReplicaHeader)
	try.Held = resp.Header.Get("Sluice-Status") == "held"
	try.SluiceID = resp.Header.Get("Sluice-Id")
	try.retryAfter = resp.Header.Get("Retry-After")
	return try
}

// retryAfter is how long a refused sender waits.
func retryAfter(t Try) time.Duration {
	seconds, err := strconv.Atoi(t.retryAfter)
	if err != nil || seconds < 0 {
		return retryPause
	}
	return min(time.Duration(seconds)*time.Second, longestPause)
}

// Close frees the connections. Run must have returned.
func (f *Fleet) Close() { f.client.CloseIdleConnections() }

// Pause waits for d and reports whether ctx is still alive then.
func Pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
