package steady

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stalled := Watch()
		<-time.After(time.Second)
		if d := stalled(); d != 0 {
			t.Errorf("stalled for %s where no time is lost", d)
		}
	})
}
