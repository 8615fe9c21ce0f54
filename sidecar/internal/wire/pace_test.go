package wire

import (
	"errors"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// A body that arrives too slowly is cut when one window has brought too little,
// whatever came before. A slow body at the minimum rate is not.
func TestPace(t *testing.T) {
	const rate, most = 100, 1 << 20
	for name, c := range map[string]struct {
		length int64
		first  int // bytes at once
		each   int // bytes in every second after that
		rate   int64
		slow   time.Duration // until it is told so, 0 for never
	}{
		"nothing comes":                        {1000, 0, 0, rate, rateWindow},
		"a byte now and then":                  {1000, 0, 1, rate, rateWindow},
		"small and slow, but there in time":    {9, 0, 1, rate, 0},
		"large and fast enough":                {10_000, 0, 2 * rate, rate, 0},
		"no length, fast enough":               {-1, 0, 2 * rate, rate, 0},
		"large, and stops before it is half":   {most, most / 4, 0, rate, rateWindow},
		"large, and stops just before it ends": {most, most - 1, 0, rate, rateWindow},
		"any rate will do":                     {50, 0, 1, 0, 0},
		"any rate will do, not any time":       {500, 0, 1, 0, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				in := announce(t, newMemory(4<<20), c.length, most, c.rate)
				began := time.Now()
				go func() {
					in.Write(make([]byte, c.first))
					every := time.NewTicker(time.Second)
					defer every.Stop()
					for sent := c.first; c.length < 0 && sent < 10_000 || int64(sent) < c.length; sent += c.each {
						select {
						case <-every.C:
						case <-t.Context().Done():
							return
						}
						n := c.each
						if c.length >= 0 {
							n = min(n, int(c.length)-sent)
						}
						if _, err := in.Write(make([]byte, n)); err != nil {
							return
						}
					}
					in.Close()
				}()
				err := <-in.taken
				took := time.Since(began)
				switch {
				case c.slow == 0 && err != nil:
					t.Errorf("%v after %v", err, took)
				case c.slow > 0 && (!errors.Is(err, os.ErrDeadlineExceeded) || took > c.slow+time.Second || took < c.slow):
					t.Errorf("%v after %v, want it too slow after %v", err, took, c.slow)
				}
				in.Close()
			})
		})
	}
}
