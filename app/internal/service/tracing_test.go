package service_test

import (
	"compress/gzip"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"sluice/infra/testkit"
)

// The trace of the sender's traceparent continues in the job and its command.
func TestTrace(t *testing.T) {
	var mu sync.Mutex
	spans := map[string]*tracepb.Span{}
	otlp := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body := io.Reader(r.Body)
		if r.Header.Get("Content-Encoding") == "gzip" {
			body, _ = gzip.NewReader(r.Body)
		}
		b, err := io.ReadAll(body)
		if err != nil {
			t.Error(err)
		}
		var req collector.ExportTraceServiceRequest
		if err := proto.Unmarshal(b, &req); err != nil {
			t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		for _, rs := range req.GetResourceSpans() {
			for _, ss := range rs.GetScopeSpans() {
				for _, s := range ss.GetSpans() {
					spans[s.GetName()] = s
				}
			}
		}
	}))
	defer otlp.Close()
	out := filepath.Join(t.TempDir(), "out")
	p := start(t, "DATABASE_URL="+testkit.Database(t), hooksFile(t, `echo $TRACEPARENT >> `+out),
		"OTEL_EXPORTER_OTLP_ENDPOINT="+otlp.URL, "OTEL_BSP_SCHEDULE_DELAY=50")
	const id = "0af7651916cd43dd8448eb211c80319c"
	p.post("d", "{}", "traceparent", "00-"+id+"-b7ad6b7169203331-01")
	var receive, job *tracepb.Span
	testkit.Eventually(t, "spans", func() bool {
		mu.Lock()
		defer mu.Unlock()
		receive, job = spans["receive github"], spans["job record"]
		return receive != nil && job != nil
	})
	for name, got := range map[string][2]string{
		"trace of the receipt":  {hex.EncodeToString(receive.GetTraceId()), id},
		"parent of the receipt": {hex.EncodeToString(receive.GetParentSpanId()), "b7ad6b7169203331"},
		"trace of the job":      {hex.EncodeToString(job.GetTraceId()), id},
		"parent of the job":     {string(job.GetParentSpanId()), string(receive.GetSpanId())},
	} {
		if got[0] != got[1] {
			t.Errorf("%s: %x, want %x", name, got[0], got[1])
		}
	}
	if len(job.GetLinks()) != 1 {
		t.Errorf("the job has %d links", len(job.GetLinks()))
	}
	if got := lines(t, out); len(got) != 1 || got[0] != "00-"+id+"-"+hex.EncodeToString(job.GetSpanId())+"-01" {
		t.Errorf("the command's TRACEPARENT is %v", got)
	}
}
