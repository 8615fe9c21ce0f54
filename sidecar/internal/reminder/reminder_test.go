package reminder

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// The first event is reported at once, later ones once a minute with their number.
// None is reported twice or left out.
func TestReminder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m Reminder
		var mu sync.Mutex
		var told []string
		began := time.Now()
		note := func() {
			m.Note(func(n int) {
				mu.Lock()
				told = append(told, fmt.Sprint(time.Since(began), ":", n))
				mu.Unlock()
			})
		}
		note()
		<-time.After(time.Second)
		for range 1000 {
			note()
		}
		<-time.After(80 * time.Second)
		note()
		<-time.After(time.Hour)
		note()
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		if want := []string{"0s:1", "1m0s:1000", "2m0s:1", "1h1m21s:1"}; !slices.Equal(told, want) {
			t.Errorf("told %v, want %v", told, want)
		}
	})
}
