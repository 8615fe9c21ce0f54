//go:build race

package service_test

// The app under test has the race detector when the test has it; it ends with
// exit code 66 when it saw a race.
const race = true
