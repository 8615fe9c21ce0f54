//go:build race

package azure

const raceEnabled = true
