package testkit

import (
	"net"
	"strconv"
	"testing"

	"sluice/infra/ports"
)

// Address returns a host and port of this machine that is free and that no other
// caller gets, even while nothing listens on it.
func Address(tb testing.TB) string {
	tb.Helper()
	port, err := ports.Free()
	if err != nil {
		tb.Fatal(err)
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
}
