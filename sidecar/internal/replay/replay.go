// Package replay hands held webhooks to the app, lane by lane, for as long as
// the replica lives, and tells the gate when a lane is empty.
//
// It owns the leases of this replica, the rows in hand and the order in which
// they go out, and the breaker, which keeps the webhooks of a broken app from
// being given up. It must never deliver a row that it has not claimed, nor one
// before its lane's earlier ones are settled or dead. It knows neither SQL nor
// HTTP: buffer claims and settles, upstream delivers. supervise runs it.
package replay

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"sluice/sidecar/internal/buffer"
	"sluice/sidecar/internal/gate"
	"sluice/sidecar/internal/loop"
	"sluice/sidecar/internal/metrics"
	"sluice/sidecar/internal/upstream"
	"sluice/sidecar/internal/webhook"
)

// Store is what replay needs of the buffer.
type Store interface {
	RenewLeases(ctx context.Context, breakerOpen bool) (held []buffer.Lease, excess []int, short bool, err error)
	ReleaseLeases(ctx context.Context, buckets []int) error
	NeedKey(ctx context.Context, l buffer.Lease, key string) error
	Claim(context.Context, []buffer.Lease, buffer.ClaimFilter) (rows []buffer.Row, more bool, err error)
	LoadBody(context.Context, *buffer.Row) error
	Settle(context.Context, []buffer.Outcome) error
	Backlog(ctx context.Context, lanes []string, limit int) (map[string]int, error)
	ActiveLanes(ctx context.Context, after *buffer.LanePlace, page, limit int) (map[string]int, *buffer.LanePlace, error)
}

// Deliverer sends one webhook until there is an outcome.
type Deliverer interface {
	Deliver(ctx context.Context, w *webhook.Webhook, attempt int, p upstream.Policy) upstream.Result
}

// Config are replay's settings.
type Config struct {
	Concurrency int // lanes that post at one time
	Policy      upstream.Policy
	Freshen     func(source string) func(*webhook.Webhook) // signs anew what was verified at receipt; nil, or returns nil, for nothing
	BlindAfter  time.Duration                              // how long the database may be away before unknown lanes pass, 5 s
	// SettleBy returns until when what was delivered may be recorded after the
	// end of Run's context; nil for 10 s.
	SettleBy func() time.Time
	// Slept returns for how long the machine has slept in all, a time of which
	// its clock knows nothing; nil for the machine's own word.
	Slept func() time.Duration
	// BreakerLimit is for how long an app that accepts nothing makes no dead
	// letters; 0 for no breaker.
	BreakerLimit time.Duration
}

// Deps are the rooms that replay works with.
type Deps struct {
	Config  Config
	Store   Store
	Gate    *gate.Gate
	App     Deliverer
	Healthy func() bool // the app's last probe passed
	AppDown func(error) // the app could not be reached
	// BreakerChanged is told when the breaker opens or closes; it must not block.
	BreakerChanged func()
	Metrics        *metrics.Metrics
	Log            *slog.Logger
}

// Replay is the worker of one replica.
type Replay struct {
	Deps
	turns   *semaphore.Weighted // lanes that post
	large   *semaphore.Weighted // bytes of bodies loaded apart from their row
	breaker *breaker
	showing sync.Mutex // held while the breaker's gauge is set

	delivered atomic.Int64
	kick      chan struct{} // something may be claimable
	look      chan struct{} // a lane may be empty
	flush     chan struct{} // a mark is waited for
	renew     chan struct{} // leases should go to others

	mu        sync.Mutex
	leases    map[int]buffer.Lease
	slept     time.Duration // when they were asked for
	lanes     map[string]*lane
	hand      map[int64]*inHand
	bytes     int                     // of the bodies in hand
	forgets   int                     // how often rows were forgotten
	forgotten map[string]int          // by lane, when last, until a claim has begun since
	leaving   map[int]bool            // buckets to be handed over
	proven    map[int]map[string]bool // by bucket, lanes that need no care
	missing   map[string]missing      // keys that lanes wait for
	crowd     bool                    // there are more lanes than one claim looks at; the claims' own
	work      sync.WaitGroup

	marking  sync.Mutex
	marks    []mark // outcomes to be recorded
	settling int    // those that are being recorded
}

// New returns a replay that has not begun.
func New(d Deps) *Replay {
	if d.Config.BlindAfter == 0 {
		d.Config.BlindAfter = 5 * time.Second
	}
	if d.Config.SettleBy == nil {
		d.Config.SettleBy = func() time.Time { return time.Now().Add(10 * time.Second) }
	}
	if d.Config.Slept == nil {
		d.Config.Slept = slept
	}
	if d.BreakerChanged == nil {
		d.BreakerChanged = func() {}
	}
	return &Replay{
		Deps:    d,
		turns:   semaphore.NewWeighted(int64(d.Config.Concurrency)),
		large:   semaphore.NewWeighted(largeBytes),
		breaker: newBreaker(d.Config.BreakerLimit),
		kick:    make(chan struct{}, 1),
		look:    make(chan struct{}, 1),
		flush:   make(chan struct{}, 1),
		renew:   make(chan struct{}, 1),
		leases:  map[int]buffer.Lease{},
		lanes:   map[string]*lane{},
		hand:    map[int64]*inHand{},

		forgotten: map[string]int{},
		leaving:   map[int]bool{},
		proven:    map[int]map[string]bool{},
		missing:   map[string]missing{},
	}
}

// missing is a key that lanes wait for.
type missing struct{ seen, told time.Time }

// Breaker returns since when the breaker is open, zero while it is closed, and
// the status for which it opened, 0 for spent attempts.
func (r *Replay) Breaker() (since time.Time, status int) { return r.breaker.isOpen() }

// OverrideBreaker lets refusals count, though the breaker is open, until the app
// accepts something: the webhooks that it refuses become dead letters.
func (r *Replay) OverrideBreaker() { r.breaker.count() }

// Locked lists the ids of the keys, in hex, that lanes of this replica's leases
// wait for.
func (r *Replay) Locked() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var keys []string
	for key, m := range r.missing {
		if time.Since(m.seen) < 4*lockedWait {
			keys = append(keys, key)
		} else if time.Since(m.told) > time.Minute {
			delete(r.missing, key)
		}
	}
	slices.Sort(keys)
	return keys
}

// Delivered returns how many held webhooks the app has taken from this replica.
func (r *Replay) Delivered() int64 { return r.delivered.Load() }

// Unsettled returns how many webhooks have come to an outcome that is not
// recorded: they will be delivered again unless it is.
func (r *Replay) Unsettled() int {
	r.marking.Lock()
	defer r.marking.Unlock()
	return len(r.marks) + r.settling
}

// Kick says that the state, the app or the leases may have changed.
func (r *Replay) Kick() { loop.Poke(r.kick); loop.Poke(r.look) }

// Held says that a webhook has been stored. While nothing is replayed, that
// would only wake the claims in vain, as often as webhooks come.
func (r *Replay) Held() {
	if r.Gate.State().Replays() {
		loop.Poke(r.kick)
	}
}

// Run works until ctx ends. Then it starts no further delivery, waits for those
// under way, records what they came to, and returns. Bound that wait by closing
// the upstream, and the record by SettleBy.
func (r *Replay) Run(ctx context.Context) {
	// What has been delivered must still be recorded when ctx has ended.
	marking, marked := context.WithCancel(context.WithoutCancel(ctx))
	var loops, settler sync.WaitGroup
	settler.Go(func() { r.settleLoop(marking) })
	loops.Go(func() { r.leaseLoop(ctx) })
	loops.Go(func() { r.claimLoop(ctx) })
	loops.Go(func() { r.lookLoop(ctx) })
	loops.Wait()
	r.work.Wait()
	marked()
	settler.Wait()
}

// may reports whether this replica delivers at present.
func (r *Replay) may() bool { return r.Gate.State().Replays() && r.Healthy() }
