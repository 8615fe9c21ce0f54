package server

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
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
	Status string `json:"status"` // accepted, or duplicate when it was stored before
	ID     string `json:"id"`
	Jobs   int    `json:"jobs"` // how many hooks it started
}

// webhook returns the handler of a route's webhooks. It answers 202 when the
// webhook and its jobs are committed.
func (s *Server) webhook(route routes.Route) http.Handler {
	traits := route.Sender.Traits()
	switch {
	case route.Unverified:
		s.log.Warn("Webhooks are not verified, no secret is set", "source", traits.Name, "route", route.Name, "variable", traits.SecretVar)
	case route.Closed() && len(s.c.SluiceSecrets) == 0:
		s.log.Warn("Route has no secret and is closed, its webhooks get 503", "route", route.Name, "variable", traits.SecretVar)
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
	// A handshake may use another method than webhooks do.
	signed := route.Takes(r.Method) && !route.Sender.Traits().OpenHandshake
	if !signed && answerHandshake(w, route, req) {
		return
	}
	if !route.Takes(r.Method) {
		allowed := strings.Join(route.Methods, ", ")
		if allowed == "" {
			allowed = http.MethodPost
		}
		w.Header().Set("Allow", allowed)
		refuse(w, http.StatusMethodNotAllowed, "webhooks must be sent with "+allowed)
		return
	}
	from, err := s.verify(r, req, &route, now)
	if err != nil {
		s.log.Warn("Webhook refused", "source", route.Sender.Traits().Name, "route", route.Name, "err", err)
		status := http.StatusUnauthorized
		if errors.Is(err, errClosed) || errors.Is(err, errOtherRoute) { // to be mended here: it is to come again
			status = http.StatusServiceUnavailable
		}
		refuse(w, status, err.Error())
		return
	}
	if signed && answerHandshake(w, route, req) {
		return
	}
	ctx, span := s.c.Tracer.Receive(r.Context(), r.Header, route.Sender.Traits().Name)
	webhook := s.describe(r.WithContext(ctx), req, &route, from, now)
	span.Set("sluice.id", webhook.ID, "sluice.delivery_id", webhook.DeliveryID, "sluice.event", webhook.Event,
		"sluice.replayed", r.Header.Get("Sluice-Replayed"))
	span.End(s.store(ctx, w, webhook))
}

// answerHandshake answers the request if it is a handshake, and returns whether it
// was one.
func answerHandshake(w http.ResponseWriter, route routes.Route, req senders.Request) bool {
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

// describe returns the webhook as intake stores it, with the jobs it starts.
func (s *Server) describe(r *http.Request, req senders.Request, route *routes.Route, from origin, now time.Time) *intake.Webhook {
	traits, identity := route.Sender.Traits(), route.Sender.Identify(req)
	webhook := &intake.Webhook{
		Source:          traits.Name,
		Route:           route.Name,
		DeliveryID:      intake.Name(identity.DeliveryID),
		Event:           intake.Name(identity.Event),
		ReceivedAt:      now,
		Headers:         r.Header,
		Body:            req.Body,
		OncePerDelivery: traits.RetriesItself,
	}
	if from.trusted {
		webhook.ID = intake.Name(r.Header.Get("Sluice-Id"))
		if t, err := time.Parse(time.RFC3339Nano, r.Header.Get("Sluice-Received-At")); err == nil {
			webhook.ReceivedAt = t.UTC()
		}
	}
	if webhook.ID == "" {
		webhook.ID = uuid.Must(uuid.NewV7()).String()
	}
	event := &hooks.Event{
		ID: webhook.ID, Source: webhook.Source, Event: webhook.Event, DeliveryID: webhook.DeliveryID,
		Route: route.Name, Method: r.Method, Path: r.URL.EscapedPath(), Query: r.URL.RawQuery, Verified: from.verified,
		ReceivedAt: webhook.ReceivedAt, Header: r.Header, Body: req.Body,
	}
	matches, problems := s.match(event)
	for _, err := range problems {
		message := "Condition not evaluated"
		if errors.Is(err, hooks.ErrUnverified) {
			message = "Hook not started, the webhook is not verified"
		}
		s.log.Warn(message, "err", err, "source", webhook.Source, "route", webhook.Route, "delivery_id", webhook.DeliveryID)
	}
	for i := range matches {
		matches[i].Key = intake.Name(matches[i].Key)
	}
	webhook.Jobs = jobs.For(jobs.Args{
		SluiceID: webhook.ID, Source: webhook.Source, DeliveryID: webhook.DeliveryID,
		Route: event.Route, Method: event.Method, Path: event.Path, Query: event.Query, Verified: event.Verified,
		Event: webhook.Event, ReceivedAt: webhook.ReceivedAt, Trace: tracing.Parent(r.Context()),
	}, matches)
	return webhook
}

// match returns the hooks that the event starts. A parsed payload takes many times
// its size in memory, so large ones are parsed one at a time.
func (s *Server) match(event *hooks.Event) ([]hooks.Match, []error) {
	if len(event.Body) > largePayload {
		s.large.Lock()
		defer s.large.Unlock()
	}
	return s.c.Rules().Match(event)
}

// store stores the webhook and answers the request.
func (s *Server) store(ctx context.Context, w http.ResponseWriter, webhook *intake.Webhook) error {
	stored, err := s.c.Store.Store(ctx, webhook)
	if err != nil {
		refuse(w, http.StatusServiceUnavailable, "not stored")
		return err
	}
	a := accepted{Status: "accepted", ID: webhook.ID, Jobs: len(webhook.Jobs)}
	if !stored {
		a.Status, a.Jobs = "duplicate", 0
	} else if len(webhook.Jobs) == 0 {
		s.log.Info("Webhook accepted, no hook matches", "source", webhook.Source, "event", webhook.Event, "delivery_id", webhook.DeliveryID)
	}
	w.Header().Set("Sluice-Id", webhook.ID)
	answer(w, http.StatusAccepted, a)
	return nil
}

// readBody reads the whole body within the limits, or refuses the request and
// returns false. release returns the body's bytes to MaxInflightBytes.
func (s *Server) readBody(w http.ResponseWriter, r *http.Request) (body []byte, release func(), ok bool) {
	limit := s.c.MaxBodyBytes
	if r.ContentLength > limit {
		refuse(w, http.StatusRequestEntityTooLarge, "body too large")
		return nil, nil, false
	}
	// A body of unknown length may be as long as the limit.
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
