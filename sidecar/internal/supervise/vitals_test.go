package supervise

import (
	"strings"
	"testing"
	"time"

	"sluice/sidecar/internal/buffer"
	"sluice/sidecar/internal/gate"
	"sluice/sidecar/internal/lifecycle"
	"sluice/sidecar/internal/upstream"
)

var (
	up         = []lifecycle.Event{lifecycle.AppUp}
	terminated = []lifecycle.Event{lifecycle.AppUp, lifecycle.Terminate}
)

// What the probes say: the platform sends a replica traffic, or ends it, by that.
func TestProbes(t *testing.T) {
	for name, c := range map[string]struct {
		events      []lifecycle.Event
		joined, db  bool
		healthy     bool
		strict      bool
		permitted   bool   // ORDER=strict
		ready       string // "" or a part of what it says
		app, buffer string // the same of the startup probe, by STARTUP_GATE
	}{
		"just begun":                      {ready: "tables", app: "has not been healthy", buffer: "tables"},
		"database, no app yet":            {joined: true, db: true, app: "has not been healthy"},
		"app, no database yet":            {events: up, healthy: true, buffer: "tables"},
		"passing":                         {events: up, joined: true, db: true, healthy: true},
		"passing, database away":          {events: up, joined: true, healthy: true, buffer: "unreachable"},
		"holding":                         {events: append(up, lifecycle.AppDown), joined: true, db: true, app: "has not been healthy"},
		"nothing there":                   {events: append(up, lifecycle.AppDown), joined: true, ready: "unreachable", app: "has not been healthy", buffer: "unreachable"},
		"app down, not known to the gate": {events: up, joined: true, ready: "unreachable", app: "has not been healthy", buffer: "unreachable"},
		"draining":                        {events: terminated, joined: true, db: true, healthy: true},
		"draining, database away":         {events: terminated, joined: true, healthy: true, ready: "unreachable", app: "unreachable", buffer: "unreachable"},
		"stopped":                         {events: append(terminated, lifecycle.Drained), joined: true, db: true, healthy: true, ready: "stopped", app: "stopped"},
		"strict, not permitted":           {events: up, joined: true, db: true, healthy: true, strict: true, ready: "other replicas", app: "other replicas", buffer: "other replicas"},
		"strict, permitted":               {events: up, joined: true, db: true, healthy: true, strict: true, permitted: true},
		"strict, database away":           {events: up, joined: true, healthy: true, strict: true, permitted: true, ready: "unreachable", app: "unreachable", buffer: "unreachable"},
	} {
		order := gate.PerLane
		if c.strict {
			order = gate.Strict
		}
		r, _ := replica(t, nobody, order)
		for _, e := range c.events {
			r.gate.Fire(e)
		}
		if c.permitted {
			r.gate.Seal(false, time.Now().Add(patience))
		}
		if c.healthy {
			findWell(t, r)
		}
		r.joined.Store(c.joined)
		r.vitals.Store(&vitals{database: c.db})
		check := func(probe string, err error, want string) {
			t.Helper()
			if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %s says %v, want %q", name, probe, err, want)
			}
		}
		check("readyz", r.Ready(), c.ready)
		r.cfg.StartupGate = "app"
		check("startupz by the app", r.Started(), c.app)
		r.cfg.StartupGate = "buffer"
		check("startupz by the buffer", r.Started(), c.buffer)
	}
}

// The startup probe passes once and for all when the app has been healthy.
func TestStartedOutlastsTheApp(t *testing.T) {
	r, _ := replica(t, nobody, gate.PerLane)
	r.cfg.StartupGate = "app"
	r.joined.Store(true)
	r.vitals.Store(&vitals{database: true})
	findWell(t, r)
	r.health.Lost(upstream.ErrDial)
	if err := r.Started(); err != nil {
		t.Errorf("an app that went away after its start: %v", err)
	}
}

// The limits of the replica under test are 10 rows, 1000 bytes, 100 unverified.
func TestVitals(t *testing.T) {
	for _, c := range []struct {
		stats                buffer.Stats
		held                 int64
		full, fullUnverified bool
	}{
		{buffer.Stats{}, 0, false, false},
		{buffer.Stats{Pending: 5, Processing: 4, Failed: 99}, 9, false, false},
		{buffer.Stats{Pending: 6, Processing: 4}, 10, true, false},
		{buffer.Stats{Pending: 1, Bytes: 999}, 1, false, false},
		{buffer.Stats{Pending: 1, Bytes: 1000}, 1, true, false},
		{buffer.Stats{Pending: 1, Bytes: 99, UnverifiedBytes: 99}, 1, false, false},
		{buffer.Stats{Pending: 1, Bytes: 100, UnverifiedBytes: 100}, 1, false, true},
	} {
		r, _ := replica(t, nobody, gate.PerLane)
		r.vitals.Store(&vitals{database: true})
		r.counted.Store(&counted{stats: c.stats})
		v, s := r.ingressVitals(), r.Status()
		if v.Held != c.held || v.Full != c.full || v.FullUnverified != c.fullUnverified {
			t.Errorf("%+v: held %d, full %v, full for unverified %v", c.stats, v.Held, v.Full, v.FullUnverified)
		}
		if !v.Database || v.App != "unknown" || v.State != "starting" {
			t.Errorf("%+v", v)
		}
		if s.Held != c.held || s.Pending != c.stats.Pending || s.Processing != c.stats.Processing || s.Failed != c.stats.Failed ||
			s.Database != "connected" || s.State != "starting" || s.App != "unknown" || s.Order != "lane" {
			t.Errorf("%+v: status is %+v", c.stats, s)
		}
	}
}
