package ingress

import (
	"encoding/json"
	"fmt"
	"net/http"
)

// ready answers as /readyz of the probe listener does, for a platform that routes by
// a path of the public port: unlike /healthz it is 200 while webhooks pass though
// PostgreSQL is away.
func (in *Ingress) ready(w http.ResponseWriter) {
	if err := in.Vitals().Ready; err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ok")
}

// health writes the public health answer. Its data are at most a second old.
func (in *Ingress) health(w http.ResponseWriter) {
	v := in.Vitals()
	answer := struct {
		Status   string `json:"status"`
		Database string `json:"db"`
		App      string `json:"app"`
		State    string `json:"state"`
		Held     int64  `json:"held"`
	}{"ok", "connected", v.App, v.State, v.Held}
	status := http.StatusOK
	if !v.Database {
		answer.Status, answer.Database = "unhealthy", "unreachable"
		status = http.StatusServiceUnavailable
	}
	body, err := json.Marshal(answer)
	if err != nil {
		http.Error(w, "health can't be told", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(append(body, '\n'))
}
