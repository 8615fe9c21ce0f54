package wire

import "runtime/debug"

func (s *Server) logPanic(fault any) {
	s.Log.Error("Connection ended by a fault in the sidecar, please report it", "err", fault, "stack", string(debug.Stack()))
}
