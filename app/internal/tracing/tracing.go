// Package tracing makes OpenTelemetry spans when OpenTelemetry's own variables
// (OTEL_*) switch it on; otherwise it does nothing, at no cost. It owns the
// exporter. It must never put a body, a secret or a header's value into a span.
// The server and jobs packages make spans with it, actions hands the trace on;
// service sets it up and closes it.
package tracing

import (
	"context"
	"fmt"
	"os"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// Tracer makes spans. A nil Tracer makes none.
type Tracer struct {
	provider *sdk.TracerProvider
	tracer   trace.Tracer
}

var w3c = propagation.TraceContext{}

// FromEnvironment returns a Tracer that exports by OTLP over HTTP, or nil when
// no endpoint is set (OTEL_EXPORTER_OTLP_ENDPOINT or its _TRACES_ form), or
// tracing is switched off.
func FromEnvironment(ctx context.Context) (*Tracer, error) {
	if os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT")+os.Getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") == "" ||
		strings.EqualFold(os.Getenv("OTEL_SDK_DISABLED"), "true") || os.Getenv("OTEL_TRACES_EXPORTER") == "none" {
		return nil, nil //nolint:nilnil // nil is a Tracer
	}
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, fmt.Errorf("make OTLP exporter: %w", err)
	}
	named, err := resource.Merge(resource.NewSchemaless(attribute.String("service.name", "sluice-app")), resource.Environment())
	if err != nil {
		return nil, fmt.Errorf("make OTLP resource: %w", err)
	}
	p := sdk.NewTracerProvider(sdk.WithBatcher(exporter), sdk.WithResource(named))
	return &Tracer{provider: p, tracer: p.Tracer("sluice/app")}, nil
}

// Close sends the remaining spans; ctx limits the time.
func (t *Tracer) Close(ctx context.Context) error {
	if t == nil {
		return nil
	}
	if err := t.provider.Shutdown(ctx); err != nil {
		return fmt.Errorf("stop tracing: %w", err)
	}
	return nil
}

// Receive begins the span of a webhook's request, in the trace of the request's
// traceparent.
func (t *Tracer) Receive(ctx context.Context, header Header, source string) (context.Context, *Span) {
	if t == nil {
		return ctx, nil
	}
	ctx = w3c.Extract(ctx, carrier{header})
	ctx, s := t.tracer.Start(ctx, "receive "+source, trace.WithSpanKind(trace.SpanKindServer))
	return ctx, &Span{s}
}

// Job begins the span of a job in the trace of its webhook. parent is what Parent
// returned for the webhook's request. The job's span is a child of the request's
// span and also has a link to it: hours and a restart may lie between the two.
func (t *Tracer) Job(ctx context.Context, parent, hook string) (context.Context, *Span) {
	if t == nil {
		return ctx, nil
	}
	ctx = w3c.Extract(ctx, propagation.MapCarrier{"traceparent": parent})
	options := []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindConsumer)}
	if sc := trace.SpanContextFromContext(ctx); sc.IsValid() {
		options = append(options, trace.WithLinks(trace.Link{SpanContext: sc}))
	}
	ctx, s := t.tracer.Start(ctx, "job "+hook, options...)
	return ctx, &Span{s}
}

// Parent returns ctx's span as a traceparent, or "" when there is none.
func Parent(ctx context.Context) string {
	m := propagation.MapCarrier{}
	w3c.Inject(ctx, m)
	return m["traceparent"]
}

// Header is the part of http.Header that is needed here.
type Header interface {
	Get(name string) string
}

type carrier struct{ Header }

func (carrier) Set(string, string) {}
func (carrier) Keys() []string     { return nil }

// Span is one span; a nil Span records nothing.
type Span struct{ s trace.Span }

// Set adds attributes: a name, its value, the next name, and so on.
func (s *Span) Set(pairs ...string) {
	if s == nil {
		return
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		s.s.SetAttributes(attribute.String(pairs[i], pairs[i+1]))
	}
}

// End ends the span; err, when not nil, marks it as failed.
func (s *Span) End(err error) {
	if s == nil {
		return
	}
	if err != nil {
		s.s.SetStatus(codes.Error, err.Error())
	}
	s.s.End()
}
