//go:build race

package senders

const raceEnabled = true
