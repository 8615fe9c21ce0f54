package main

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
)

// run sends for a moment to an installation with the given answers.
func run(t *testing.T, answer func(n int64) int) (string, error) {
	t.Helper()
	var n atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(answer(n.Add(1))) }))
	t.Cleanup(s.Close)
	c := command()
	var out bytes.Buffer
	c.SetOut(&out)
	c.SetErr(&out)
	c.SetArgs([]string{"--url", s.URL, "--rate", "200", "--duration", "300ms"})
	err := c.Execute()
	return out.String(), err
}

func TestSenderPrintsResults(t *testing.T) {
	out, err := run(t, func(int64) int { return 202 })
	if err != nil || !strings.Contains(out, "60 webhooks, 60 acknowledged") || !strings.Contains(out, "0 never acknowledged") {
		t.Errorf("%v\n%s", err, out)
	}
	// GitHub sends once: its refused webhooks are lost.
	out, err = run(t, func(n int64) int { return map[bool]int{true: 503, false: 202}[n <= 6] })
	if err == nil || !strings.Contains(out, "never acknowledged: github") {
		t.Errorf("%v\n%s", err, out)
	}
}
