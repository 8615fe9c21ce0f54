package senders

import (
	"net/http"
	"testing"
	"time"
)

func TestGithubDocVector(t *testing.T) {
	r := Request{Header: http.Header{hubSignature: {"sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"}}, Body: []byte("Hello, World!")}
	if err := (github{}).Verify(r, []string{"old", "It's a Secret to Everybody"}, time.Time{}); err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() { (github{}).Verify(r, []string{"a", "b"}, time.Time{}) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
