package leaks

import (
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestFind(t *testing.T) {
	here := goleak.IgnoreCurrent()
	go func() { <-time.After(time.Second) }() // longer than goleak waits
	if err := Find(here); err != nil {
		t.Errorf("a goroutine that ends late was taken for a leak: %v", err)
	}
	end := make(chan struct{})
	go leak(end)
	if err := find(time.Second, here); err == nil || !strings.Contains(err.Error(), "leaks.leak") {
		t.Errorf("a goroutine that does not end was not found: %v", err)
	}
	close(end)
}

func leak(end chan struct{}) { <-end }
