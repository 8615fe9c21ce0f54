//go:build !linux

package replay

import "time"

// slept is not known here.
func slept() time.Duration { return 0 }
