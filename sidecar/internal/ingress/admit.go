package ingress

import (
	"net/http"
	"net/netip"
	"strings"

	"sluice/sidecar/internal/request"
	"sluice/sidecar/internal/wire"
)

// barred answers a request that the route takes from nobody, or not from there. It
// returns false for a request that it may take.
func (r *route) barred(head request.Head) (wire.Reply, bool) {
	if r.Closed() {
		return r.refuseUnsecured(), true
	}
	if len(r.Networks) > 0 && !r.Admits(clientAddr(head.Get("X-Forwarded-For"), r.in.Config.TrustedHops)) {
		r.rejected.Inc()
		const text = "this route takes nothing from that address"
		r.in.noteRefusal(r, network, text)
		return wire.Text(http.StatusForbidden, text), true
	}
	return wire.Reply{}, false
}

// clientAddr returns the sender's address from X-Forwarded-For, whose last entry is
// this connection's peer: each trusted proxy before the sidecar has added one. It
// is invalid, and in no network, when there are fewer entries or it can't be read.
func clientAddr(forwarded string, trustedHops int) netip.Addr {
	entries := strings.Split(forwarded, ",")
	i := len(entries) - 1 - trustedHops
	if i < 0 {
		return netip.Addr{}
	}
	text := strings.TrimSpace(entries[i])
	if with, err := netip.ParseAddrPort(text); err == nil { // some proxies add the port
		return with.Addr().Unmap()
	}
	addr, _ := netip.ParseAddr(strings.Trim(text, "[]"))
	return addr.WithZone("").Unmap()
}

// wrongMethod answers a method that a route with methods of its own does not take.
func (r *route) wrongMethod(w http.ResponseWriter) {
	w.Header().Set("Allow", strings.Join(r.Methods, ", "))
	http.Error(w, "this route takes other methods", http.StatusMethodNotAllowed)
}
