package buffer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/semaphore"
)

const (
	defaultMaxConns      = 6
	vitalConns           = 2 // one in use; the other for when its server went silent
	minMaxConns          = vitalConns + 2
	defaultAppendTimeout = 1500 * time.Millisecond
	maxCommitters        = 3
	warmConns            = 2

	queryTimeout = 5 * time.Second // claims, settles, counts
	vitalTimeout = 3 * time.Second // leases and heartbeats: several tries fit into a lease's trust
	connTimeout  = 3 * time.Second
	dialTimeout  = 2 * time.Second
	closeTimeout = time.Second
)

// Config says how a Store reaches its database. URL and Instance are required.
type Config struct {
	URL      string // DATABASE_URL: a URL or keyword string
	Instance string // UUID of this process, never used again by another
	Name     string // the replica's name; a newer process of the same name proves the older one dead; "" never does
	Strict   bool   // ORDER=strict, told to the other replicas
	MaxConns int32  // all connections together, default 6, at least 4

	// AppendTimeout is how long an append is tried before it is given up
	// (default 1.5 s, and 100 ms for each MB of body). Append may return up to
	// a third of it later, because a commit under way is not cut off.
	AppendTimeout time.Duration

	// Keys are AES-256 keys of 32 bytes: the first encrypts headers and body,
	// all of them decrypt. None: rows are written in plain.
	Keys [][]byte

	// Password gives the password of each new connection (an Entra token); nil
	// for the URL's own.
	Password func(context.Context) (string, error)
	Log      *slog.Logger
}

// Store is the queue. Its methods are safe for concurrent use, bound their own
// time, and return an error that wraps [ErrUnavailable] when the database could
// not be asked or its answer was lost.
type Store struct {
	config   Config
	instance uuid.UUID
	sealer   *sealer
	queue    *queue
	// vital is for leases, heartbeats and health, so that a burst of appends
	// cannot cost a lease.
	pool, vital *pgxpool.Pool
	// work bounds what is done on pool beside appends, to which a connection is
	// always left.
	work  *semaphore.Weighted
	loads *semaphore.Weighted // bodies being loaded

	late     lateAnswers
	planned  planned
	walk     walk
	flow     flow
	copies   copies
	seq      atomic.Int64
	seen     atomic.Pointer[time.Time] // when the database last saw this replica, by its own clock
	answered atomic.Int64              // when a statement was last answered, nanoseconds since opened
	lastBeat atomic.Int64              // nanoseconds since opened, 0 before the first
	noJudge  atomic.Int64              // until then nobody is declared dead
	opened   time.Time

	cancel    context.CancelFunc // ends the committers
	committed sync.WaitGroup
	closing   sync.Once
}

// Open returns a Store without waiting for the server, which may be away. What
// is wrong with the configuration is an error, and never shows the password.
func Open(ctx context.Context, c Config) (*Store, error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.MaxConns == 0 {
		c.MaxConns = defaultMaxConns
	}
	c.MaxConns = max(c.MaxConns, minMaxConns)
	if c.AppendTimeout <= 0 {
		c.AppendTimeout = defaultAppendTimeout
	}
	instance, err := uuid.Parse(c.Instance)
	if err != nil {
		return nil, fmt.Errorf("open buffer: instance: %w", err)
	}
	seal, err := newSealer(c.Keys)
	if err != nil {
		return nil, fmt.Errorf("open buffer: %w", err)
	}
	s := &Store{config: c, instance: instance, sealer: seal, queue: newQueue(), opened: time.Now()}
	work := int64(c.MaxConns-vitalConns) - 1
	s.work, s.loads = semaphore.NewWeighted(work), semaphore.NewWeighted(max(1, work-1))
	if s.pool, err = newPool(ctx, c, c.MaxConns-vitalConns, warmConns); err != nil {
		return nil, fmt.Errorf("open buffer: %w", err)
	}
	if s.vital, err = newPool(ctx, c, vitalConns, 0); err != nil {
		s.pool.Close()
		return nil, fmt.Errorf("open buffer: %w", err)
	}
	// The committers outlive ctx, which bounds Open alone: Close ends them.
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s.cancel = cancel
	// One connection is always left to the replay.
	for range min(maxCommitters, c.MaxConns-vitalConns-1) {
		s.committed.Go(func() { s.commitLoop(run) })
	}
	return s, nil
}

func newPool(ctx context.Context, c Config, maxConns, minConns int32) (*pgxpool.Pool, error) {
	pc, err := pgxpool.ParseConfig(c.URL)
	if err != nil {
		return nil, urlError(c.URL, err)
	}
	pc.MaxConns, pc.MinConns, pc.MinIdleConns = maxConns, minConns, 0
	pc.MaxConnLifetime, pc.MaxConnLifetimeJitter = 30*time.Minute, 5*time.Minute
	pc.MaxConnIdleTime = 5 * time.Minute
	pc.HealthCheckPeriod = 15 * time.Second
	// A ping proves little about the statement after it. Statements here are
	// tried again on a fresh connection.
	pc.ShouldPing = func(context.Context, pgxpool.ShouldPingParams) bool { return false }
	if c.Password != nil {
		pc.BeforeConnect = func(ctx context.Context, cc *pgx.ConnConfig) (err error) {
			cc.Password, err = c.Password(ctx)
			return err
		}
	}
	pc.AfterConnect = markDirect
	// pgx takes up to 15 s to close a connection to a server that went silent, and the
	// pool has no connection in its place meanwhile.
	pc.BeforeClose = func(c *pgx.Conn) {
		time.AfterFunc(closeTimeout, func() { _ = c.PgConn().Conn().Close() })
	}
	cc := pc.ConnConfig
	dial := cc.DialFunc
	cc.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, dialTimeout) // also that of a cancel request
		defer cancel()
		return dial(ctx, network, addr)
	}
	// Described, not prepared: nothing is left on a server connection that
	// PgBouncer may hand to another client. planned makes the exceptions.
	cc.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe
	cc.OnNotice = watchReplication
	if cc.ConnectTimeout == 0 || cc.ConnectTimeout > connTimeout {
		cc.ConnectTimeout = connTimeout
	}
	if cc.RuntimeParams["application_name"] == "" {
		cc.RuntimeParams["application_name"] = "sluice"
	}
	pool, err := pgxpool.NewWithConfig(context.WithoutCancel(ctx), pc)
	if err != nil {
		return nil, fmt.Errorf("make pool: %w", err)
	}
	return pool, nil
}

// urlError says what is wrong with a URL. A URL that cannot be taken apart may
// have its password anywhere, so nothing of it is repeated then.
func urlError(raw string, err error) error {
	u, bad := url.Parse(raw)
	if bad != nil || u.Scheme == "" {
		return errors.New("DATABASE_URL is neither a PostgreSQL URL nor a keyword string (special characters in a password must be percent-encoded)")
	}
	reason := err.Error()
	if pe := (*pgconn.ParseConfigError)(nil); errors.As(err, &pe) && errors.Unwrap(pe) != nil {
		reason = errors.Unwrap(pe).Error()
	}
	if password, ok := u.User.Password(); ok && password != "" {
		reason = strings.ReplaceAll(reason, password, "***")
	}
	return fmt.Errorf("DATABASE_URL: %s", reason)
}

// Close gives up what is not yet committed, waits for the store's goroutines
// and closes its connections. It may be called twice.
func (s *Store) Close() {
	s.closing.Do(func() {
		s.queue.close()
		s.cancel()
		s.committed.Wait()
		s.pool.Close() // waits for calls under way, which are bounded
		s.vital.Close()
	})
}

const writableSQL = `SELECT pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean`

// Ping returns nil when the database answers and takes writes.
func (s *Store) Ping(ctx context.Context) error {
	return s.do(ctx, s.vital, vitalTimeout, "ping database", func(ctx context.Context, c *pgxpool.Conn) error {
		var readOnly bool
		if err := c.QueryRow(ctx, writableSQL).Scan(&readOnly); err != nil {
			return err
		}
		if readOnly {
			return errReadOnly
		}
		return nil
	})
}

// Warm opens the connections that the first held webhooks will need.
func (s *Store) Warm(ctx context.Context) error {
	var held []*pgxpool.Conn
	defer func() {
		for _, c := range held {
			c.Release()
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	for range warmConns {
		c, err := s.pool.Acquire(ctx)
		if err != nil {
			return unavailable("warm connections", err)
		}
		held = append(held, c)
	}
	return nil
}
