package replay_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"sluice/infra/testkit"
	"sluice/sidecar/internal/buffer"
	"sluice/sidecar/internal/gate"
	"sluice/sidecar/internal/lifecycle"
	"sluice/sidecar/internal/metrics"
	"sluice/sidecar/internal/replay"
	"sluice/sidecar/internal/upstream"
	"sluice/sidecar/internal/webhook"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// taker is an app that takes every webhook at once.
type taker struct {
	taken atomic.Int64
	want  int64
	done  chan struct{}
	each  func(*webhook.Webhook)
}

func (a *taker) Deliver(ctx context.Context, w *webhook.Webhook, attempt int, p upstream.Policy) upstream.Result {
	done, err := p.Turn(ctx, attempt)
	if err != nil {
		return upstream.Result{Outcome: upstream.Away, Attempt: attempt - 1}
	}
	if a.each != nil {
		a.each(w)
	}
	done()
	if a.taken.Add(1) == a.want {
		close(a.done)
	}
	return upstream.Result{Outcome: upstream.Delivered, Attempt: attempt}
}

// BenchmarkReplay hands a backlog to an app that takes every webhook at once: many
// rows in few lanes beside more rows in many lanes. SLUICE_LONG=1 makes it a million
// rows in 100,000 lanes.
//
//	go test -run '^$' -bench Replay -benchtime 1x ./sidecar/internal/replay
func BenchmarkReplay(b *testing.B) {
	sizes := [][2]int{{20_000, 16}, {20_000, 2_000}}
	if os.Getenv("SLUICE_LONG") != "" {
		sizes = [][2]int{{100_000, 16}, {200_000, 1_000}, {200_000, 10_000}, {1_000_000, 100_000}}
	}
	for _, size := range sizes {
		rows, lanes := size[0], size[1]
		b.Run(fmt.Sprintf("%d-rows-%d-lanes", rows, lanes), func(b *testing.B) {
			for range b.N {
				benchReplay(b, rows, lanes)
			}
		})
	}
}

func benchReplay(b *testing.B, rows, lanes int) {
	b.StopTimer()
	s, db := held(b, rows, lanes)
	app := &taker{want: int64(rows), done: make(chan struct{})}
	before, own := serverTime(b, db), processTime("self")
	began := time.Now()
	b.StartTimer()
	g, end := replaying(b, s, app)
	<-app.done
	took := time.Since(began)
	for g.State() != lifecycle.Passing {
		<-time.After(time.Millisecond)
	}
	b.StopTimer()
	b.ReportMetric(float64(rows)/took.Seconds(), "rows/s")
	b.ReportMetric(float64((serverTime(b, db)-before).Microseconds())/float64(rows), "db-µs/row")
	b.ReportMetric(float64((processTime("self")-own).Microseconds())/float64(rows), "own-µs/row")
	b.ReportMetric(time.Since(began).Seconds()-took.Seconds(), "s-to-open")
	end()
}

// held returns a queue with a backlog.
func held(tb testing.TB, rows, lanes int) (*buffer.Store, *pgx.Conn) {
	tb.Helper()
	url := testkit.Database(tb)
	s, err := buffer.Open(tb.Context(), buffer.Config{URL: url, Instance: uuid.NewString(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(s.Close)
	if err := s.Migrate(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	db, err := pgx.Connect(tb.Context(), url)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = db.Close(context.Background()) })
	hold(tb, db, rows, lanes)
	if err := s.Join(tb.Context(), "replaying"); err != nil {
		tb.Fatal(err)
	}
	return s, db
}

// replaying lets a replica deliver what is held, until end is called.
func replaying(tb testing.TB, s *buffer.Store, app replay.Deliverer) (g *gate.Gate, end func()) {
	tb.Helper()
	g = gate.New(gate.Config{CatchupLimit: time.Minute})
	r := replay.New(replay.Deps{Config: replay.Config{Concurrency: 8}, Store: s, Gate: g, App: app, Healthy: func() bool { return true },
		Metrics: metrics.New(), Log: slog.New(slog.DiscardHandler)})
	ctx, cancel := context.WithCancel(tb.Context())
	over := make(chan struct{})
	go func() { r.Run(ctx); close(over) }()
	g.Fire(lifecycle.AppUp)
	return g, func() { cancel(); <-over }
}

// While a long backlog is replayed, new webhooks of lanes that have none pass as
// soon as all lanes have been looked at, and none overtakes its lane. SLUICE_LONG=1
// makes it a million rows in 100,000 lanes.
func TestNewWebhooksBesideALongBacklog(t *testing.T) {
	rows, lanes := 20_000, 2_000
	if os.Getenv("SLUICE_LONG") != "" {
		rows, lanes = 1_000_000, 100_000
	} else if testing.Short() {
		t.Skip("fills a table")
	}
	s, _ := held(t, rows, lanes)
	var mu sync.Mutex
	taken := map[string]int{}
	app := &taker{want: int64(rows), done: make(chan struct{}), each: func(w *webhook.Webhook) {
		mu.Lock()
		taken[w.Lane]++
		mu.Unlock()
	}}
	g, end := replaying(t, s, app)
	defer end()
	rng := rand.New(rand.NewPCG(1, 2))
	var fresh, passed, beside int
	for looked, over := false, false; !over; fresh++ {
		select {
		case <-app.done:
			over = true
		default:
		}
		empty := fmt.Sprint("empty", fresh)
		switch v, _ := g.Enter(empty, false); {
		case v == gate.Forward:
			g.Leave()
			looked = true
			passed++
		case looked:
			t.Fatalf("a webhook of an empty lane is held after others have passed: verdict %d", v)
		default:
			g.Dropped(empty)
		}
		lane := fmt.Sprint("lane", rng.IntN(lanes))
		switch v, _ := g.Enter(lane, false); v {
		case gate.Forward:
			mu.Lock()
			if n := taken[lane]; n < rows/lanes {
				t.Errorf("a new webhook of %s overtook %d that are held", lane, rows/lanes-n)
			}
			mu.Unlock()
			g.Leave()
			beside++
		default:
			g.Dropped(lane)
		}
		<-time.After(100 * time.Microsecond)
	}
	t.Logf("%d of %d webhooks of empty lanes passed, and %d of lanes that were done", passed, fresh, beside)
	if passed < fresh/2 || beside == 0 {
		t.Errorf("%d of %d webhooks of empty lanes passed, and %d of lanes that were done", passed, fresh, beside)
	}
	for end := time.Now().Add(time.Minute); g.Counts().Shut > 0 || g.State() != lifecycle.Passing; <-time.After(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%v with %+v", g.State(), g.Counts())
		}
	}
}

// hold puts rows of 2 KB into lanes, one of each in turn, in the buckets that the
// store gives them.
func hold(b testing.TB, db *pgx.Conn, rows, lanes int) {
	b.Helper()
	names, in := make([]string, lanes), make([]int16, lanes)
	for i := range lanes {
		names[i] = fmt.Sprint("lane", i)
		in[i] = int16(fnv(names[i]) % 16)
	}
	_, err := db.Exec(b.Context(), `INSERT INTO webhook_queue (sluice_id, source, lane, bucket, headers, body, body_size, dedupe_key)
		SELECT gen_random_uuid(), 's', w.lane, w.bucket, $5::bytea, $6::bytea, octet_length($6::bytea), sha256(n::text::bytea)
		FROM generate_series(0, $1 - 1) AS n JOIN unnest($2::text[], $3::smallint[]) WITH ORDINALITY AS w(lane, bucket, i) ON w.i = 1 + n % $4
		ORDER BY n`, rows, names, in, lanes,
		[]byte("POST /webhooks HTTP/1.1\r\n"+strings.Repeat("X-Header-Name: value\r\n", 24)), []byte(strings.Repeat("0123456789abcdef", 128)))
	if err == nil {
		_, err = db.Exec(b.Context(), `VACUUM (ANALYZE) webhook_queue`)
	}
	if err == nil {
		_, err = db.Exec(b.Context(), `CHECKPOINT`)
	}
	if err != nil {
		b.Fatal(err)
	}
}

// fnv is the hash by which the store finds a lane's bucket.
func fnv(lane string) uint32 {
	h := uint32(2166136261)
	for _, c := range []byte(lane) {
		h = (h ^ uint32(c)) * 16777619
	}
	return h
}

// serverTime is the CPU time of the server's processes, as far as Linux tells it.
func serverTime(b *testing.B, db *pgx.Conn) (sum time.Duration) {
	b.Helper()
	parent := stat(fmt.Sprint(db.PgConn().PID()))
	if len(parent) < 2 {
		return 0
	}
	processes, _ := filepath.Glob("/proc/[0-9]*")
	for _, p := range processes {
		if f := stat(filepath.Base(p)); len(f) > 1 && f[1] == parent[1] {
			sum += processTime(filepath.Base(p))
		}
	}
	return sum
}

func processTime(pid string) time.Duration {
	f := stat(pid)
	if len(f) < 15 {
		return 0
	}
	user, _ := strconv.Atoi(f[11])
	system, _ := strconv.Atoi(f[12])
	return time.Duration(user+system) * 10 * time.Millisecond
}

// stat returns the fields of a process behind its name.
func stat(pid string) []string {
	text, _ := os.ReadFile("/proc/" + pid + "/stat")
	_, rest, _ := strings.Cut(string(text), ") ")
	return strings.Fields(rest)
}
