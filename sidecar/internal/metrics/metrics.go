// Package metrics defines the Prometheus metrics of a replica. It owns the registry
// and the collectors. Nothing may decide by reading them. All packages that count
// something use it; control serves it.
package metrics

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// Metrics are a replica's collectors.
type Metrics struct {
	Registry *prometheus.Registry

	Webhooks    *prometheus.CounterVec // by source and outcome: forwarded, held, late, refused, rejected, handshake
	Refused     *prometheus.CounterVec // webhooks refused or rejected, by source and reason
	Unrouted    *prometheus.CounterVec // requests that look like webhooks, to a path without a route, by sender
	Connections prometheus.Gauge       // open at the public listener
	Evicted     prometheus.Counter     // idle connections closed for new ones at MAX_CONNECTIONS
	TurnedAway  prometheus.Counter     // connections refused at MAX_CONNECTIONS
	Seconds     prometheus.Histogram   // from a webhook's receipt to its answer
	Replayed    *prometheus.CounterVec // by outcome: delivered, failed, retried
	Forced      prometheus.Counter     // lanes opened by CATCHUP_LIMIT
	BreakerOpen prometheus.Gauge       // 1 while the app refuses every webhook
	Transitions *prometheus.CounterVec // by state entered
	Held        *prometheus.GaugeVec   // rows by status, as last counted
	State       *prometheus.GaugeVec   // 1 for the current state
	Probes      *prometheus.CounterVec // of the app, by result
	Database    prometheus.Gauge       // 1 while reachable
}

// New returns the collectors, registered.
func New() *Metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "sluice", Name: name, Help: help}, labels)
	}
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "sluice", Name: name, Help: help}, labels)
	}
	m := &Metrics{
		Registry:    prometheus.NewRegistry(),
		Webhooks:    counter("webhooks_total", "Webhooks received, by source and what became of them.", "source", "outcome"),
		Refused:     counter("refused_total", "Webhooks refused, by source and reason.", "source", "reason"),
		Unrouted:    counter("unrouted_webhooks_total", "Requests that look like a known sender's webhooks but came to a path without a route.", "sender"),
		Connections: prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "sluice", Name: "connections", Help: "Open connections of the public listener."}),
		Evicted:     prometheus.NewCounter(prometheus.CounterOpts{Namespace: "sluice", Name: "connections_evicted_total", Help: "Idle connections closed for new ones at MAX_CONNECTIONS."}),
		TurnedAway:  prometheus.NewCounter(prometheus.CounterOpts{Namespace: "sluice", Name: "connections_refused_total", Help: "Connections refused at MAX_CONNECTIONS."}),
		Seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "sluice", Name: "webhook_seconds", Help: "From a webhook's receipt to its answer.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}),
		Replayed:    counter("replayed_total", "Held webhooks handed to the app, by outcome.", "outcome"),
		Forced:      prometheus.NewCounter(prometheus.CounterOpts{Namespace: "sluice", Name: "lanes_forced_total", Help: "Lanes opened with a backlog because it did not shrink for CATCHUP_LIMIT."}),
		BreakerOpen: prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "sluice", Name: "breaker_open", Help: "1 while the app refuses every webhook and held ones stay in the queue."}),
		Transitions: counter("transitions_total", "State transitions, by the state entered.", "state"),
		Held:        gauge("queue_rows", "Rows of webhook_queue, by status, as last counted.", "status"),
		State:       gauge("state", "1 for the state the replica is in.", "state"),
		Probes:      counter("app_probes_total", "Probes of the app, by result.", "result"),
		Database:    prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "sluice", Name: "database_up", Help: "1 while PostgreSQL is reachable and writable."}),
	}
	m.Registry.MustRegister(m.Webhooks, m.Refused, m.Unrouted, m.Connections, m.Evicted, m.TurnedAway, m.Seconds, m.Replayed, m.Forced, m.BreakerOpen, m.Transitions, m.Held, m.State, m.Probes, m.Database,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}
