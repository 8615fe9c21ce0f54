//go:build !race

package azure

const raceEnabled = false
