package request

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestHeadKeepsNamesValuesAndOrder(t *testing.T) {
	h := NewHead("POST", "/hooks/a?x=%2F", "example.test").
		Add("X-B", "1").Add("x-a", "caf\xe9").Add("X-B", "2").Add("Empty", "")
	if err := h.Check(); err != nil {
		t.Fatal(err)
	}
	if h.Method() != "POST" || h.URI() != "/hooks/a?x=%2F" || h.Get("host") != "example.test" {
		t.Errorf("method %q, uri %q, host %q", h.Method(), h.URI(), h.Get("host"))
	}
	if got := h.Values("x-b"); !slices.Equal(got, []string{"1", "2"}) {
		t.Errorf("values %q, want both in order", got)
	}
	if h.Get("X-A") != "caf\xe9" || !has(h, "empty") || has(h, "none") {
		t.Error("a value or a name was lost")
	}
	var names []string
	for n := range h.Fields() {
		names = append(names, n)
	}
	if !slices.Equal(names, []string{"Host", "X-B", "x-a", "X-B", "Empty"}) {
		t.Errorf("names %q", names)
	}
	h = h.Set("x-b", "3")
	if got := h.Values("X-B"); !slices.Equal(got, []string{"3"}) {
		t.Errorf("after Set: %q", got)
	}
}

func TestCountOfFields(t *testing.T) {
	h := NewHead("POST", "/X-Sig:", "h").Add("X-Sig", "a").Add("x-sig", "").Add("X-Sig2", "b").Add("X", "X-Sig: c")
	for name, want := range map[string]int{"X-SIG": 2, "X-Sig2": 1, "X": 1, "Host": 1, "Y": 0, "": 0} {
		if n := h.Count(name); n != want {
			t.Errorf("%d of %q, want %d", n, name, want)
		}
	}
}

func TestCheckRefusesWhatWouldNotBeOneRequest(t *testing.T) {
	good := "POST / HTTP/1.1\r\nHost: a\r\n"
	for name, head := range map[string]string{
		"empty":             "",
		"no request line":   "\r\n",
		"old version":       "POST / HTTP/1.0\r\n",
		"cut off":           "POST / HTTP/1.1\r\nHost: a",
		"no colon":          good + "Nothing\r\n",
		"space in the name": good + "A b: c\r\n",
		"end of head":       good + "\r\nGET /smuggled HTTP/1.1\r\n",
		"bare CR":           good + "A: b\rc\r\n",
		"NUL":               good + "A: b\x00c\r\n",
		"length":            good + "content-length: 3\r\n",
		"chunked":           good + "Transfer-Encoding: chunked\r\n",
		"forged":            good + "sluice-verified: github\r\n",
		"forged for WSGI":   good + "Sluice_Verified: github\r\n",
	} {
		if err := Head(head).Check(); !errors.Is(err, ErrHead) {
			t.Errorf("%s: %v, want ErrHead", name, err)
		}
	}
}

func FuzzHead(f *testing.F) {
	f.Add([]byte("POST / HTTP/1.1\r\nHost: a\r\nX: y\r\n"))
	f.Add([]byte("\r\n:\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		h := Head(b)
		for n, v := range h.Fields() {
			_ = h.Values(n)
			_ = v
		}
		if h.Check() != nil {
			return
		}
		if strings.Contains(string(h), "\r\n\r\n") || strings.Contains(string(h), "\n\n") {
			t.Errorf("a head that ends twice passed: %q", b)
		}
		set := h.Set("X-Fuzz", "1")
		if err := set.Check(); err != nil || set.Get("x-fuzz") != "1" {
			t.Errorf("Set broke a good head: %v, %q", err, set)
		}
	})
}

func has(h Head, name string) bool {
	_, ok := h.first(name)
	return ok
}
