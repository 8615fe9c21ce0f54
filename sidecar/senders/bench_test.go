package senders

import (
	"errors"
	"testing"
	"time"
)

// BenchmarkVerify measures each scheme beside the code that it replaced, in
// turns within one run, so that what else the machine does meets both. The metric
// declared/written is what a scheme may cost: at most 1.1.
func BenchmarkVerify(b *testing.B) {
	bodies := map[string]int{"100B": 100, "2KB": 2 << 10, "64KB": 64 << 10}
	for _, name := range []string{"github", "slack", "stripe"} {
		for label, size := range bodies {
			b.Run(name+"/"+label, func(b *testing.B) { benchmarkVerify(b, name, size) })
		}
	}
}

func benchmarkVerify(b *testing.B, name string, size int) {
	now := time.Unix(1793613600, 0)
	r := Request{Method: "POST", URL: "https://hooks.example.com/in", Header: headerOf(nil), Body: make([]byte, size)}
	sign(b, name, &r, "secret", now)
	secrets := []string{"another", "secret"}
	declared, byHand := known(b, name), written[name]
	const turn = 20
	verify := func(what func(Request, []string, time.Time) error) time.Duration {
		start := time.Now()
		for range turn {
			if err := what(r, secrets, now); err != nil {
				b.Fatal(err)
			}
		}
		return time.Since(start)
	}
	// The best turn is the one that the machine's other work disturbed least.
	best, bestByHand := verify(declared.Verify), verify(byHand)
	b.ReportAllocs()
	for b.Loop() {
		best, bestByHand = min(best, verify(declared.Verify)), min(bestByHand, verify(byHand))
	}
	b.ReportMetric(float64(best)/turn, "ns/declared")
	b.ReportMetric(float64(bestByHand)/turn, "ns/written")
	b.ReportMetric(float64(best)/float64(bestByHand), "declared/written")
}

// sign signs r as the built-in sender does.
func sign(t testing.TB, name string, r *Request, secret string, now time.Time) {
	t.Helper()
	var d *declared
	switch s := known(t, name).(type) {
	case *declared:
		d = s
	case *resigning:
		d = s.declared
	case slack:
		d = s.declared
	case zoom:
		d = s.declared
	case meta:
		d = s.declared
	default:
		t.Fatalf("%s has no scheme", name)
	}
	signDeclared(t, d, r, secret, now)
}

// signDeclared signs r by a scheme whose signature is in a header.
func signDeclared(t testing.TB, d *declared, r *Request, secret string, now time.Time) {
	t.Helper()
	if d.ages() {
		for _, f := range (&resigning{d}).Resign(*r, secret, now) {
			set(r, f.Name, f.Value)
		}
		return
	}
	if d.token {
		set(r, d.signature[0].name, d.signature[0].prefix+secret)
		return
	}
	at := ""
	if d.time != nil {
		if d.time.from.kind == fromHeader {
			set(r, d.time.from.name, formatTime(now, d.time.unit))
		}
		at = d.time.from.value(r)
	}
	k := d.keys.Get().(*keyed)
	defer d.keys.Put(k)
	set(r, d.signature[0].name, d.signature[0].prefix+encodings[d.encoding].encode(d.sum(k, r, at, secret)))
}

// A scheme and the code that it replaced say the same of every vector and of
// every part of it that is missing or changed.
func TestSchemesAgreeWithCode(t *testing.T) {
	compared := 0
	for _, v := range vectors(t) {
		byHand, ok := written[v.Sender]
		if !ok {
			continue
		}
		value := v.Headers[v.Signature]
		for _, field := range []string{value, "", value[:len(value)-1], value + "0", "t=1," + value, value + "," + value, "v0=", "sha256=" + value} {
			for _, later := range []time.Duration{0, tolerance + time.Second} {
				r := v.request()
				set(&r, v.Signature, field)
				declared := known(t, v.Sender).Verify(r, []string{v.Secret}, v.now().Add(later))
				code := byHand(r, []string{v.Secret}, v.now().Add(later))
				// What is both stale and unreadable is one of the two.
				if (declared == nil) != (code == nil) || later == 0 && !sameVerdict(declared, code) {
					t.Errorf("%s, %q: scheme %v, code %v", v.Name, field, declared, code)
				}
				compared++
			}
		}
	}
	if compared < 80 {
		t.Errorf("only %d requests were compared", compared)
	}
}

func sameVerdict(a, b error) bool {
	for _, verdict := range []error{ErrUnsigned, ErrSignature, ErrStale} {
		if errors.Is(a, verdict) != errors.Is(b, verdict) {
			return false
		}
	}
	return true
}
