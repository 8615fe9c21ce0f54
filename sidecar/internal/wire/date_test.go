package wire

import (
	"net/http"
	"testing"
	"time"
)

func TestDate(t *testing.T) {
	at := time.Date(2026, time.November, 23, 2, 0, 0, 999999999, time.FixedZone("", 3600))
	for _, step := range []time.Duration{0, 1, time.Millisecond, time.Second, -time.Hour} { // clocks can be set back
		now := at.Add(step)
		want := "Date: " + now.UTC().Format(http.TimeFormat) + "\r\n"
		for range 2 {
			if got := string(appendDate(nil, now)); got != want {
				t.Errorf("%v: %q, want %q", now, got, want)
			}
		}
	}
}
