//go:build !race

package service_test

const race = false
