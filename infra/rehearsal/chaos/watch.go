package chaos

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"sluice/infra/rehearsal/replica"
	"sluice/infra/rehearsal/sender"
)

const (
	statusPath = "/v1/status"
	watchEvery = time.Second
)

// local is the client for the run's own processes, whose answers are small and
// quick.
var local = &http.Client{Timeout: localLimit, Transport: &http.Transport{}}

// status is the part of a sidecar's status answer that matters here.
type status struct {
	State    string `json:"state"`
	Held     int64  `json:"held"`
	InFlight int    `json:"in_flight"`
	Holding  int    `json:"holding"`
	Shut     int    `json:"shut_lanes"`
	Forced   int    `json:"forced_lanes"`
}

// sample is a sidecar's memory and goroutines at one moment.
type sample struct {
	at         time.Time
	replica    string
	memory     int64 // resident bytes
	goroutines int
}

// watch records a replica's states and samples until it is gone.
func (s *stage) watch(ctx context.Context, n *node) {
	for !n.gone() && sender.Pause(ctx, watchEvery) {
		st, err := askStatus(ctx, n)
		if err != nil {
			s.log.Enter(n.Name, "down")
			continue
		}
		s.log.Enter(n.Name, st.State)
		if one, err := measure(ctx, n); err == nil {
			s.mu.Lock()
			s.samples = append(s.samples, one)
			s.mu.Unlock()
		}
	}
	s.log.Enter(n.Name, "gone")
}

func askStatus(ctx context.Context, n *node) (st status, err error) {
	body, err := get(ctx, "http://"+replica.Addr(n.Ports.Control)+statusPath)
	if err != nil {
		return st, err
	}
	if err := json.Unmarshal(body, &st); err != nil {
		return st, fmt.Errorf("read status: %w", err)
	}
	return st, nil
}

// measure reads memory and goroutines from a sidecar's metrics.
func measure(ctx context.Context, n *node) (sample, error) {
	body, err := get(ctx, "http://"+replica.Addr(n.Ports.Probe)+"/metrics")
	if err != nil {
		return sample{}, err
	}
	one := sample{at: time.Now(), replica: n.Name}
	for lines := bufio.NewScanner(bytes.NewReader(body)); lines.Scan(); {
		name, value, _ := bytes.Cut(lines.Bytes(), []byte(" "))
		number, _ := strconv.ParseFloat(string(value), 64) // 0 when it is not a number
		switch string(name) {
		case "process_resident_memory_bytes":
			one.memory = int64(number)
		case "go_goroutines":
			one.goroutines = int(number)
		}
	}
	if one.goroutines == 0 {
		return one, fmt.Errorf("read metrics of %s: go_goroutines is missing", n.Name)
	}
	return one, nil
}

func get(ctx context.Context, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	resp, err := local.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask: %w", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return nil, fmt.Errorf("read answer of %s: %w", url, err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("ask %s: status %d", url, resp.StatusCode)
	}
	return body, nil
}

func reachable(url string) bool {
	_, err := get(context.Background(), url)
	return err == nil
}
