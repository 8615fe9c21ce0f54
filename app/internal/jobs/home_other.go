//go:build !linux

package jobs

// home is unknown here: the dead are told by their silence.
func home() string { return "" }
