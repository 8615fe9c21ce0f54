package server

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/google/uuid"

	"sluice/app/internal/hooks"
	"sluice/app/internal/intake"
	"sluice/app/internal/jobs"
	"sluice/app/internal/tracing"
	"sluice/sidecar/routes"
	"sluice/sidecar/senders"
)

const largePayload = 1 << 20

type accepted struct {
	Status string `json:"status"` // accepted, or duplicate when it was known already
	ID     string `json:"id"`
	Jobs   int    `json:"jobs"` // how many hooks it started
}

// webhook receives what the route's sender sends. It answers 202 when the
// webhook and its jobs are committed.
func (s *Server) webhook(route routes.Route) http.Handler {
	traits := route.Sender.Traits()
	if traits.SecretVar != "" && len(route.Secrets) == 0 {
		s.log.Warn("Webhooks are not verified, no secret is set", "source", traits.Name, "variable", traits.SecretVar)
	}
	return s.c.Drain.Requests(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.receive(w, r, route)
	}))
}

func (s *Server) receive(w http.ResponseWriter, r *http.Request, route routes.Route) {
	if !s.ready.Load() {
		refuse(w, http.StatusServiceUnavailable, "starting")
		return
	}
	body, release, ok := s.readBody(w, r)
	if !ok {
		return
	}
	defer release()

	now := time.Now().UTC()
	req := senderRequest(r, body)
	// Only a POST brings something; a sender may shake hands in other ways.
	signed := r.Method == http.MethodPost && !route.Sender.Traits().OpenHandshake
	if !signed && shake(w, route, req) {
		return
	}
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		refuse(w, http.StatusMethodNotAllowed, "only POST brings a webhook")
		return
	}
	from, err := s.verify(req, route.Sender, route.Secrets, now)
	if err != nil {
		s.log.Warn("Webhook refused", "source", route.Sender.Traits().Name, "err", err)
		refuse(w, http.StatusUnauthorized, err.Error())
		return
	}
	if signed && shake(w, route, req) {
		return
	}
	ctx, span := s.c.Tracer.Receive(r.Context(), r.Header, route.Sender.Traits().Name)
	hook := s.describe(r.WithContext(ctx), req, route.Sender, from, now)
	span.Set("sluice.id", hook.ID, "sluice.delivery_id", hook.DeliveryID, "sluice.event", hook.Event,
		"sluice.replayed", r.Header.Get("Sluice-Replayed"))
	span.End(s.store(ctx, w, hook))
}

// shake answers a handshake, if the request is one.
func shake(w http.ResponseWriter, route routes.Route, req senders.Request) bool {
	h, ok := route.Sender.(senders.Handshaker)
	if !ok {
		return false
	}
	a, ok := h.Handshake(req, route.HandshakeSecrets)
	if !ok {
		return false
	}
	for name, value := range a.Header {
		w.Header().Set(name, value)
	}
	if a.ContentType != "" {
		w.Header().Set("Content-Type", a.ContentType)
	}
	w.WriteHeader(a.Status)
	_, _ = w.Write(a.Body)
	return true
}

// describe names the webhook and the jobs it starts.
func (s *Server) describe(r *http.Request, req senders.Request, sender senders.Sender, from origin, now time.Time) *intake.Webhook {
	traits, identity := sender.Traits(), sender.Identify(req)
	hook := &intake.Webhook{
		Source:          traits.Name,
		DeliveryID:      intake.Name(identity.DeliveryID),
		Event:           intake.Name(identity.Event),
		ReceivedAt:      now,
		Headers:         r.Header,
		Body:            req.Body,
		OncePerDelivery: traits.RetriesItself,
	}
	if from.trusted {
		hook.ID = intake.Name(r.Header.Get("Sluice-Id"))
		if t, err := time.Parse(time.RFC3339Nano, r.Header.Get("Sluice-Received-At")); err == nil {
			hook.ReceivedAt = t.UTC()
		}
	}
	if hook.ID == "" {
		hook.ID = uuid.Must(uuid.NewV7()).String()
	}
	event := &hooks.Event{
		ID: hook.ID, Source: hook.Source, Event: hook.Event, DeliveryID: hook.DeliveryID,
		ReceivedAt: hook.ReceivedAt, Header: r.Header, Body: req.Body,
	}
	matches, problems := s.match(event)
	for _, err := range problems {
		s.log.Warn("Condition not evaluated", "err", err, "source", hook.Source, "delivery_id", hook.DeliveryID)
	}
	for i := range matches {
		matches[i].Key = intake.Name(matches[i].Key)
	}
	hook.Jobs = jobs.For(jobs.Args{
		SluiceID: hook.ID, Source: hook.Source, DeliveryID: hook.DeliveryID,
		Event: hook.Event, ReceivedAt: hook.ReceivedAt, Trace: tracing.Parent(r.Context()),
	}, matches)
	return hook
}

// match asks the rules. A parsed payload takes many times its size, so large
// ones are parsed one at a time.
func (s *Server) match(event *hooks.Event) ([]hooks.Match, []error) {
	if len(event.Body) > largePayload {
		s.large.Lock()
		defer s.large.Unlock()
	}
	return s.c.Rules().Match(event)
}

func (s *Server) store(ctx context.Context, w http.ResponseWriter, hook *intake.Webhook) error {
	stored, err := s.c.Store.Store(ctx, hook)
	if err != nil {
		refuse(w, http.StatusServiceUnavailable, "not stored")
		return err
	}
	a := accepted{Status: "accepted", ID: hook.ID, Jobs: len(hook.Jobs)}
	if !stored {
		a.Status, a.Jobs = "duplicate", 0
	} else if len(hook.Jobs) == 0 {
		s.log.Info("Webhook accepted, no hook matches", "source", hook.Source, "event", hook.Event, "delivery_id", hook.DeliveryID)
	}
	w.Header().Set("Sluice-Id", hook.ID)
	answer(w, http.StatusAccepted, a)
	return nil
}

// readBody reads the whole body within the limits, or answers and returns
// false. release gives its memory back to the budget.
func (s *Server) readBody(w http.ResponseWriter, r *http.Request) (body []byte, release func(), ok bool) {
	limit := s.c.MaxBodyBytes
	if r.ContentLength > limit {
		refuse(w, http.StatusRequestEntityTooLarge, "body too large")
		return nil, nil, false
	}
	// A body of unknown length may become as long as the limit.
	weight := r.ContentLength
	if weight < 0 {
		weight = limit
	}
	if !s.inflight.TryAcquire(weight) {
		refuse(w, http.StatusServiceUnavailable, "too many bytes in flight")
		return nil, nil, false
	}
	release = func() { s.inflight.Release(weight) }
	var err error
	if r.ContentLength >= 0 {
		body = make([]byte, r.ContentLength)
		_, err = io.ReadFull(r.Body, body)
	} else {
		body, err = io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	}
	if err == nil {
		return body, release, true
	}
	release()
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		refuse(w, http.StatusRequestEntityTooLarge, "body too large")
	} else {
		refuse(w, http.StatusBadRequest, "body not readable")
	}
	return nil, nil, false
}
