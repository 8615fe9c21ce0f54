package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/hashicorp/go-retryablehttp"

	"sluice/sidecar/internal/webhook"
)

// Policy says how often and how long a held webhook is tried.
type Policy struct {
	MaxAttempts int           // tries that count, including those before this delivery
	AwayLimit   time.Duration // how long after a delivery's first 503 another 503 doesn't count; 0: each counts
	Timeout     time.Duration // for one answer
	MinBackoff  time.Duration // before the second try; doubled for each further one
	MaxBackoff  time.Duration // also the longest Retry-After that is honoured
	Healthy     func() bool   // false while the app must not be tried
	// Turn waits until the attempt with that number may be made. done ends the turn,
	// so that a webhook in its backoff does not block others. The webhook's body may
	// be missing until Turn returns.
	Turn func(ctx context.Context, attempt int) (done func(), err error)
	// Single reports whether this delivery must stop after the try just made,
	// whatever its result; nil for never.
	Single func() bool
	// Until returns when this replica must stop posting this webhook. It is called
	// again when that time has come, since the lease may have been renewed.
	Until   func() time.Time
	Waiting func(attempt int, reason string) // called before the pause after a failed try; attempt tries have counted; may be nil
	Freshen func(*webhook.Webhook)           // signs a copy again before each try; may be nil
}

// Outcome of a delivery.
type Outcome int

const (
	Delivered Outcome = iota // the app answered 2xx
	Refused                  // the app answered with a status that retrying cannot fix, or no try is left
	Away                     // the app can't be reached now: the webhook stays in the queue
)

// Result is how a delivery ended.
type Result struct {
	Outcome Outcome
	Attempt int    // how many tries have counted, including those before this delivery
	Status  int    // the final status of a refusal, 0 when no try is left
	Reason  string // why it was not Delivered, for the operator
	// Refuses is true for Away when the app's port refused: it is down for every webhook.
	Refuses bool
}

var errAway = errors.New("app is away")

// Deliver sends a held webhook to the app until there is an outcome, with
// exponential backoff and jitter, honouring Retry-After. attempt is the number of
// its first try. With 503 an app says that it is away, as an app that drains must;
// that says nothing about the webhook, so for a while a 503 does not count. Deliver
// returns Away when ctx ends.
func (c *Client) Deliver(ctx context.Context, w *webhook.Webhook, attempt int, p Policy) Result {
	t := &trip{client: c, webhook: w, policy: p, attempt: attempt - 1}
	rc := retryablehttp.Client{
		HTTPClient:   &http.Client{Transport: t},
		RetryWaitMin: p.MinBackoff,
		RetryWaitMax: p.MaxBackoff,
		RetryMax:     math.MaxInt32, // check counts
		CheckRetry:   t.check,
		Backoff:      backoff,
		ErrorHandler: retryablehttp.PassthroughErrorHandler,
		PrepareRetry: t.prepare,
	}
	req, err := retryablehttp.NewRequestWithContext(ctx, http.MethodPost, c.cfg.URL, nil)
	if err != nil {
		return Result{Outcome: Refused, Attempt: attempt, Reason: fmt.Sprintf("build request: %v", err)}
	}
	if !p.Healthy() {
		return Result{Outcome: Away, Attempt: attempt - 1, Reason: errAway.Error()}
	}
	resp, err := rc.Do(req)
	if resp != nil {
		defer resp.Body.Close()
		if resp.StatusCode/100 == 2 {
			return Result{Outcome: Delivered, Attempt: t.attempt}
		}
	}
	switch {
	case ctx.Err() != nil, errors.Is(err, errAway):
		if ctx.Err() == nil && t.refuses {
			return Result{Outcome: Away, Attempt: t.attempt, Reason: t.reason, Refuses: true}
		}
		return Result{Outcome: Away, Attempt: t.attempt, Reason: t.reason}
	case t.retryable:
		return Result{Outcome: Refused, Attempt: t.attempt, Reason: fmt.Sprintf("gave up after %d attempts: %s", t.attempt, t.reason)}
	}
	return Result{Outcome: Refused, Attempt: t.attempt, Status: t.status, Reason: t.reason}
}

// trip is the transport of one delivery and its retries. It sends the stored
// webhook byte for byte and counts the tries. The end of the delivery's context
// does not cut off a try under way; only the try's own time limits do.
type trip struct {
	client    *Client
	webhook   *webhook.Webhook
	policy    Policy
	attempt   int       // tries that count
	excused   int       // tries of this delivery that do not count
	away      time.Time // when the first 503 came
	reason    string    // why the last try failed
	status    int       // the status of the last answer
	retryable bool
	refuses   bool // the port was closed at the last try
}

func (t *trip) RoundTrip(r *http.Request) (*http.Response, error) {
	done, err := t.policy.Turn(r.Context(), t.attempt+1)
	if err != nil {
		return nil, errAway
	}
	w := *t.webhook
	if t.policy.Freshen != nil {
		t.policy.Freshen(&w)
	}
	e, resp, err := t.try(&w)
	if err != nil {
		done()
		return nil, err
	}
	h := http.Header{}
	if resp.RetryAfter != "" {
		h.Set("Retry-After", resp.RetryAfter)
	}
	return &http.Response{
		StatusCode: resp.Status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: h, Request: r, Body: &answer{e.Body(), e, done},
	}, nil
}

func (t *trip) try(w *webhook.Webhook) (*Exchange, *Response, error) {
	last := time.Now().Add(t.policy.Timeout)
	deadline := earlier(last, t.policy.Until())
	if !deadline.After(time.Now()) {
		return nil, nil, errAway // another replica may have the webhook by now
	}
	t.attempt++
	e, err := t.client.Send(w, t.attempt+t.excused, true, deadline)
	if err != nil {
		if errors.Is(err, ErrDial) {
			t.attempt-- // nothing was sent
		}
		return nil, nil, err
	}
	for {
		resp, err := e.Await(deadline)
		next := earlier(last, t.policy.Until())
		switch {
		case err == nil:
			return e, resp, nil
		case !errors.Is(err, ErrLate), !next.After(deadline):
			e.Close()
			return nil, nil, err
		}
		deadline = next
	}
}

type answer struct {
	io.Reader
	e    *Exchange
	done func()
}

func (a *answer) Close() error {
	if a.done != nil {
		a.e.Close()
		a.done()
		a.done = nil
	}
	return nil
}

// check decides after each try whether to make another one.
func (t *trip) check(ctx context.Context, resp *http.Response, err error) (bool, error) {
	t.retryable = true
	counts := true
	switch {
	case err != nil:
		t.reason, t.refuses = reasonFor(err), errors.Is(err, ErrDial)
		if errors.Is(err, ErrDial) || errors.Is(err, errAway) {
			return false, errAway
		}
	case resp.StatusCode/100 == 2:
		t.retryable = false
		return false, nil
	default:
		t.status, t.reason = resp.StatusCode, fmt.Sprintf("app answered %d", resp.StatusCode)
		if t.retryable = Retryable(resp.StatusCode); !t.retryable {
			return false, nil
		}
		counts = !t.excuse(resp.StatusCode)
	}
	switch {
	case t.policy.Single != nil && t.policy.Single():
		return false, nil
	case counts && t.attempt >= t.policy.MaxAttempts:
		return false, nil
	case !t.policy.Healthy(): // trying makes sense only while the app is healthy
		return false, errAway
	}
	if ctx.Err() == nil && t.policy.Waiting != nil {
		t.policy.Waiting(t.attempt, t.reason)
	}
	return ctx.Err() == nil, ctx.Err()
}

// excuse takes back the count of a try that was answered 503. It does not once a
// healthy app has done so for AwayLimit: the 503 may then be about this webhook.
func (t *trip) excuse(status int) bool {
	if status != http.StatusServiceUnavailable || t.policy.AwayLimit == 0 {
		return false
	}
	if t.away.IsZero() {
		t.away = time.Now()
	} else if time.Since(t.away) >= t.policy.AwayLimit {
		return false
	}
	t.attempt--
	t.excused++
	return true
}

// prepare runs after the backoff, before the next try.
func (t *trip) prepare(*http.Request) error {
	if !t.policy.Healthy() {
		return errAway
	}
	return nil
}

// reasonFor returns the error for the operator, without addresses and details.
func reasonFor(err error) string {
	for _, known := range []error{ErrDial, ErrReset, ErrLate, errAway} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	return err.Error()
}

// Retryable reports whether a retry may get another status: 408, 425, 429 and every
// 5xx.
func Retryable(status int) bool {
	return status == 408 || status == 425 || status == 429 || status/100 == 5
}

// backoff is the library's with jitter of a quarter. It is never longer than hi,
// whatever Retry-After asks for.
func backoff(lo, hi time.Duration, n int, resp *http.Response) time.Duration {
	d := retryablehttp.DefaultBackoff(lo, hi, n, resp)
	if resp != nil && resp.Header.Get("Retry-After") != "" {
		return min(d, hi)
	}
	if d > 4 {
		d += rand.N(d/4) - d/8
	}
	return min(d, hi)
}
