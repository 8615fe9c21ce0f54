package upstream

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"sluice/sidecar/senders"
)

// Prober asks the app for its health, and tells it to drain.
type Prober struct {
	health, drain string // URLs
	secret        string // signs POST /drain; "" leaves it unsigned
	client        *http.Client
}

// NewProber returns a prober of the app's health path. timeout bounds one probe.
func (c *Client) NewProber(timeout time.Duration) *Prober {
	return &Prober{
		health: c.base.JoinPath(c.cfg.HealthPath).String(),
		drain:  c.base.JoinPath("/drain").String(),
		secret: c.cfg.Secret,
		client: &http.Client{
			Timeout: timeout,
			// A new connection for every probe: a kept-alive one would still answer
			// after the app has closed its port.
			Transport:     &http.Transport{DisableKeepAlives: true, DialContext: c.dial.DialContext},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// Probe returns nil when the app answers with 2xx, an error that wraps ErrDial when
// its port refuses, and another error when it answers otherwise or too late.
func (p *Prober) Probe(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.health, nil)
	if err != nil {
		return fmt.Errorf("probe app: %w", err)
	}
	resp, err := p.client.Do(req)
	if err != nil {
		if IsDial(err) {
			return fmt.Errorf("probe app: %w: %w", ErrDial, err)
		}
		return fmt.Errorf("probe app: %w", err)
	}
	defer resp.Body.Close()
	io.CopyN(io.Discard, resp.Body, 64<<10)
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("probe app: %s answered %d", p.health, resp.StatusCode)
	}
	return nil
}

// BeginDrain tells the app to drain. An app without that path may ignore it. With a
// secret the request is signed, see senders.SignDrain.
func (p *Prober) BeginDrain(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.drain, nil)
	if err != nil {
		return fmt.Errorf("tell app to drain: %w", err)
	}
	if p.secret != "" {
		for _, f := range senders.SignDrain(p.secret, time.Now()) {
			req.Header.Set(f.Name, f.Value)
		}
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return fmt.Errorf("tell app to drain: %w", err)
	}
	resp.Body.Close()
	if s := resp.StatusCode; s == http.StatusUnauthorized || s == http.StatusForbidden {
		return fmt.Errorf("tell app to drain: it answered %d; is SLUICE_SECRET the same on both sides?", s)
	}
	return nil
}

// Refuses reports whether the app's port refuses a connection.
func (c *Client) Refuses(ctx context.Context) bool {
	nc, err := c.dial.DialContext(ctx, "tcp", c.addr)
	if err == nil {
		nc.Close()
	}
	return err != nil
}
