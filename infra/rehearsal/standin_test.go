package rehearsal

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"regexp"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// The stand-ins below are a sidecar and an app in a few lines each, true to the
// contract and, when STANDIN_FAULT says so, false to it in one way. They
// test the rehearsal itself: it must report no fault in a correct run and find
// every fault that STANDIN_FAULT causes.

const faultVar = "STANDIN_FAULT"

// standIn runs the program that the environment asks for and exits.
func standIn() {
	var err error
	if os.Getenv("LISTEN_ADDR") != "" {
		err = standInSidecar()
	} else {
		err = standInApp()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(3)
	}
	os.Exit(0)
}

const standInSchema = `
CREATE TABLE IF NOT EXISTS webhook_queue (id bigserial PRIMARY KEY, sluice_id text, lane text, path text,
	delivery text, body bytea, status text DEFAULT 'pending');
CREATE TABLE IF NOT EXISTS river_job (id bigserial PRIMARY KEY, kind text DEFAULT 'hook', args jsonb,
	state text DEFAULT 'available', attempt int DEFAULT 0, attempted_by text[], created_at timestamptz DEFAULT now(), pid int, body bytea);
CREATE UNIQUE INDEX IF NOT EXISTS one_job ON river_job ((args->>'sluice_id'))`

func standInPool() (*pgxpool.Pool, error) {
	pool, err := pgxpool.New(context.Background(), os.Getenv("DATABASE_URL"))
	if err != nil {
		return nil, err
	}
	conn, err := pool.Acquire(context.Background())
	if err != nil {
		return nil, err
	}
	defer conn.Release()
	for _, sql := range []string{"SELECT pg_advisory_lock(1)", standInSchema, "SELECT pg_advisory_unlock(1)"} {
		if _, err := conn.Conn().PgConn().Exec(context.Background(), sql).ReadAll(); err != nil {
			return nil, err
		}
	}
	return pool, nil
}

// miniSidecar forwards, or holds in order, with one lock for each lane.
type miniSidecar struct {
	pool     *pgxpool.Pool
	fault    string
	appUp    atomic.Bool
	wasUp    atomic.Bool
	draining atomic.Bool
	lastSeen atomic.Int64
	lanes    map[string]*sync.Mutex
}

func standInSidecar() error {
	pool, err := standInPool()
	if err != nil {
		return err
	}
	m := &miniSidecar{pool: pool, fault: os.Getenv(faultVar), lanes: map[string]*sync.Mutex{}}
	for _, lane := range []string{"/webhooks/github", "/webhooks/slack/events", "/hooks/rehearsal"} {
		m.lanes[lane] = &sync.Mutex{}
	}
	probes := http.NewServeMux()
	probes.HandleFunc("/startupz", func(w http.ResponseWriter, _ *http.Request) {
		if !m.wasUp.Load() && os.Getenv("STARTUP_GATE") != "buffer" {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	probes.HandleFunc("/readyz", func(http.ResponseWriter, *http.Request) {})
	probes.HandleFunc("/v1/status", func(w http.ResponseWriter, _ *http.Request) {
		state := map[bool]string{true: "passing", false: "holding"}[m.appUp.Load()]
		if m.draining.Load() {
			state = "draining"
		}
		fmt.Fprintf(w, `{"state":%q}`, state)
	})
	go http.ListenAndServe(os.Getenv("PROBE_ADDR"), probes)
	go http.ListenAndServe(os.Getenv("CONTROL_ADDR"), probes)
	go http.ListenAndServe(os.Getenv("LISTEN_ADDR"), m)
	go m.watch()
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	<-signals
	m.draining.Store(true)
	m.lastSeen.Store(time.Now().UnixNano())
	for m.appUp.Load() || time.Since(time.Unix(0, m.lastSeen.Load())) < time.Second {
		pause(context.Background(), 10*time.Millisecond)
	}
	return nil
}

func (m *miniSidecar) watch() {
	for ; ; pause(context.Background(), 20*time.Millisecond) {
		resp, err := http.Get(os.Getenv("APP_URL") + "/healthz")
		if err == nil {
			resp.Body.Close()
		}
		if err == nil && !m.draining.Load() {
			for lane := range m.lanes {
				for !m.draining.Load() && m.replay(lane) {
				}
			}
			m.wasUp.Store(true)
		}
		m.appUp.Store(err == nil)
	}
}

// replay delivers a lane's first row and reports whether there may be more. It
// locks the lane for one row only, so that senders do not wait for ever.
func (m *miniSidecar) replay(lane string) bool {
	m.lanes[lane].Lock()
	defer m.lanes[lane].Unlock()
	order := "id"
	if m.fault == "reorder" {
		order = "id DESC"
	}
	var row int64
	var id, delivery string
	var body []byte
	err := m.pool.QueryRow(context.Background(), `SELECT id, sluice_id, delivery, body FROM webhook_queue
		WHERE lane = $1 AND status = 'pending' ORDER BY `+order+` LIMIT 1`, lane).Scan(&row, &id, &delivery, &body)
	if err != nil || m.forward(lane, id, delivery, body) != http.StatusAccepted {
		return false
	}
	if m.fault == "twice" {
		m.forward(lane, rand.Text(), delivery, body)
	}
	_, err = m.pool.Exec(context.Background(), "UPDATE webhook_queue SET status = 'completed' WHERE id = $1", row)
	return err == nil
}

func (m *miniSidecar) forward(lane, id, delivery string, body []byte) int {
	if m.fault == "damage" {
		body = append(bytes.Clone(body), ' ')
	}
	req, _ := http.NewRequest(http.MethodPost, os.Getenv("APP_URL")+lane, bytes.NewReader(body))
	req.GetBody = nil
	req.Header.Set("Sluice-Id", id)
	req.Header.Set("Rehearsal-Delivery", delivery)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0
	}
	resp.Body.Close()
	return resp.StatusCode
}

func (m *miniSidecar) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m.lastSeen.Store(time.Now().UnixNano())
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	lane, id := r.URL.Path, rand.Text()
	delivery := r.Header.Get("X-Github-Delivery") + r.Header.Get("Idempotency-Key")
	w.Header().Set("Sluice-Id", id)
	m.lanes[lane].Lock()
	defer m.lanes[lane].Unlock()
	var waiting int
	if err := m.pool.QueryRow(r.Context(), "SELECT count(*) FROM webhook_queue WHERE lane = $1 AND status = 'pending'", lane).Scan(&waiting); err != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	if m.appUp.Load() && !m.draining.Load() && waiting == 0 && m.forward(lane, id, delivery, body) == http.StatusAccepted {
		w.WriteHeader(http.StatusAccepted)
		return
	}
	if m.fault != "lose" {
		if _, err := m.pool.Exec(r.Context(), "INSERT INTO webhook_queue (sluice_id, lane, path, delivery, body) VALUES ($1, $2, $2, $3, $4)",
			id, lane, delivery, body); err != nil {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
	}
	w.Header().Set("Sluice-Status", "held")
	w.WriteHeader(http.StatusAccepted)
}

// standInApp stores a job for each webhook and runs the recorder for it.
func standInApp() error {
	pool, err := standInPool()
	if err != nil {
		return err
	}
	rules, err := os.ReadFile(os.Getenv("HOOKS_FILE"))
	if err != nil {
		return err
	}
	argv := regexp.MustCompile(`\["([^"]+)", "([^"]+)"\]`).FindStringSubmatch(string(rules))
	var draining atomic.Bool
	var busy atomic.Int64
	server := &http.Server{Addr: "127.0.0.1:" + os.Getenv("PORT")}
	server.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/healthz":
		case r.URL.Path == "/drain":
			fmt.Fprintf(w, `{"draining":%v,"activeRequests":0,"activeJobs":%d}`, draining.Load(), busy.Load())
		case draining.Load():
			w.WriteHeader(http.StatusServiceUnavailable)
		default:
			body, _ := io.ReadAll(r.Body)
			_, err := pool.Exec(r.Context(), `INSERT INTO river_job (args, body) VALUES (jsonb_build_object('sluice_id', $1::text), $2)
				ON CONFLICT DO NOTHING`, r.Header.Get("Sluice-Id"), body)
			if err != nil {
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			w.WriteHeader(http.StatusAccepted)
		}
	})
	go server.ListenAndServe()
	if os.Getenv(faultVar) == "die" {
		time.AfterFunc(400*time.Millisecond, func() { os.Exit(7) })
	}
	var workers sync.WaitGroup
	for range 6 {
		workers.Go(func() {
			for ; !draining.Load(); pause(context.Background(), 5*time.Millisecond) {
				for !draining.Load() && work(pool, &busy, argv[1:]) {
				}
			}
		})
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	<-signals
	draining.Store(true)
	workers.Wait()
	fmt.Println(`{"msg":"Drain timeout, extending grace window once"}`) // printed always, whatever the time
	return server.Shutdown(context.Background())
}

const takeSQL = `
UPDATE river_job SET state = 'running', attempt = attempt + 1, pid = $1 WHERE id = (
	SELECT id FROM river_job WHERE state = 'available' OR (state = 'running' AND pid = ANY($2))
	ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING id, args->>'sluice_id', body`

// work runs one job, which may be a dead app's, and reports whether there was one.
func work(pool *pgxpool.Pool, busy *atomic.Int64, argv []string) bool {
	var id int64
	var sluiceID string
	var body []byte
	err := pool.QueryRow(context.Background(), takeSQL, os.Getpid(), deadApps(pool)).Scan(&id, &sluiceID, &body)
	if err != nil {
		return false
	}
	busy.Add(1)
	defer busy.Add(-1)
	cmd := exec.Command(argv[0], argv[1])
	cmd.Stdin, cmd.Env = bytes.NewReader(body), append(os.Environ(), "SLUICE_ID="+sluiceID)
	if cmd.Run() != nil {
		return false
	}
	pool.Exec(context.Background(), "UPDATE river_job SET state = 'completed' WHERE id = $1", id)
	return true
}

func deadApps(pool *pgxpool.Pool) []int {
	rows, err := pool.Query(context.Background(), "SELECT DISTINCT pid FROM river_job WHERE state = 'running'")
	if err != nil {
		return nil
	}
	pids, _ := pgx.CollectRows(rows, pgx.RowTo[int])
	var dead []int
	for _, pid := range pids {
		if syscall.Kill(pid, 0) != nil {
			dead = append(dead, pid)
		}
	}
	return dead
}
