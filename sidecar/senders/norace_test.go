//go:build !race

package senders

const raceEnabled = false
