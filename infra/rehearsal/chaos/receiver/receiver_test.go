package receiver

import (
	"bytes"
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice/infra/leaks"
	"sluice/infra/rehearsal/replica"

	"sluice/infra/ports"
)

func TestMain(m *testing.M) { leaks.Main(m) }

// start runs an app until the returned function is called.
func start(t *testing.T) (url, file string, stop func() error) {
	t.Helper()
	port, err := ports.Free()
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Addr: replica.Addr(port), File: filepath.Join(t.TempDir(), "records"), Name: "r1"}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- Serve(ctx, o) }()
	url = "http://" + o.Addr
	for until := time.Now().Add(20 * time.Second); ; <-time.After(5 * time.Millisecond) {
		if resp, err := http.Get(url + "/healthz"); err == nil {
			resp.Body.Close()
			break
		}
		if time.Now().After(until) {
			t.Fatal("the app does not listen")
		}
	}
	stop = func() error { cancel(); return <-served }
	t.Cleanup(func() { cancel(); http.DefaultClient.CloseIdleConnections() })
	return url, o.File, stop
}

func post(t *testing.T, url, body string, head map[string]string) int {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, url+"/hooks/a", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range head {
		req.Header.Set(name, value)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

func TestRecordsBeforeItAnswers(t *testing.T) {
	url, file, stop := start(t)
	const late = 50
	for _, c := range []struct {
		head map[string]string
		want int
	}{
		{map[string]string{IDHeader: "a", "Sluice-Id": "s-a", "Sluice-Attempt": "1", "Sluice-Replayed": "false", LateHeader: "50"}, 202},
		{map[string]string{IDHeader: "b", "Sluice-Id": "s-b", "Sluice-Attempt": "1", "Sluice-Replayed": "false", RefuseHeader: "422"}, 202},
		{map[string]string{IDHeader: "c", "Sluice-Id": "s-c", "Sluice-Attempt": "2", "Sluice-Replayed": "true", RefuseHeader: "500"}, 500},
		{map[string]string{IDHeader: "c", "Sluice-Id": "s-c", "Sluice-Attempt": "3", "Sluice-Replayed": "true", RefuseHeader: "500"}, 202},
		{map[string]string{IDHeader: "d", "Sluice-Id": "s-d", "Sluice-Attempt": "7", "Sluice-Replayed": "true", RefuseHeader: "422"}, 422},
	} {
		if got := post(t, url, "body", c.head); got != c.want {
			t.Errorf("%v: answered %d, want %d", c.head, got, c.want)
		}
	}
	all, broken := read(t, file)
	if len(all) != 5 || broken != 0 {
		t.Fatalf("%d records, %d broken", len(all), broken)
	}
	for i, d := range all {
		if d.Place != i+1 || d.Sum != Sum([]byte("body")) || d.Bytes != 4 || d.Replica != "r1" || d.SluiceID != "s-"+d.ID {
			t.Errorf("record %+v", d)
		}
	}
	if took := all[0].Done.Sub(all[0].Begun); took < late*time.Millisecond {
		t.Errorf("late by %s only", took)
	}
	if last := all[4]; last.Attempt != 7 || !last.Replayed || last.Status != 422 {
		t.Errorf("record %+v", last)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	if _, err := http.Get(url + "/healthz"); err == nil {
		t.Error("it listens after its end")
	}
}

func TestDrainRefuses(t *testing.T) {
	url, _, stop := start(t)
	resp, err := http.Post(url+"/drain", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if got := post(t, url, "body", nil); got != 503 {
		t.Errorf("draining, it answered %d", got)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestHalfALineSpoilsNoOther(t *testing.T) {
	whole := (&Delivery{ID: "a", Status: 202}).line()
	file := bytes.Join([][]byte{whole, whole[:len(whole)-5], whole}, nil)
	all, broken, err := Read(bytes.NewReader(file))
	if err != nil || len(all) != 2 || broken != 1 || all[1].Place != 2 {
		t.Errorf("%v, %d broken, %v", all, broken, err)
	}
}

func read(t *testing.T, file string) ([]Delivery, int) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	all, broken, err := Read(f)
	if err != nil {
		t.Fatal(err)
	}
	return all, broken
}
