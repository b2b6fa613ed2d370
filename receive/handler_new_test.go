package receive

import (
	"bytes"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

func TestHandlerRegistration(t *testing.T) {
	reg := prometheus.NewRegistry()
	newTestHandler(t, newFakeStorage(), HandlerOptions{Registerer: reg})
	_, err := NewHandler(newFakeStorage(), HandlerOptions{Registerer: reg})
	if err == nil || !strings.Contains(err.Error(), "WrapRegistererWith") {
		t.Fatalf("a second handler on the registry: error %v", err)
	}
	reg = prometheus.NewRegistry()
	for _, name := range []string{"1", "2"} {
		newTestHandler(t, newFakeStorage(), HandlerOptions{Registerer: prometheus.WrapRegistererWith(prometheus.Labels{"handler": name}, reg)})
	}
	// What failed to register has left nothing behind.
	half := prometheus.NewRegistry()
	half.MustRegister(prometheus.NewGauge(prometheus.GaugeOpts{Name: "varve_receive_requests_in_flight", Help: "x"}))
	if _, err := NewHandler(newFakeStorage(), HandlerOptions{Registerer: half}); err == nil {
		t.Fatal("no error for a metric that exists")
	}
	if families, _ := half.Gather(); len(families) != 1 {
		t.Errorf("%d metrics registered, want the one from before", len(families))
	}
}

func TestHandlerOptionsNameWhatIsWrong(t *testing.T) {
	_, err := NewHandler(newFakeStorage(), HandlerOptions{TenantHeader: "a b", DefaultTenant: "../x", MaxDecodedBytes: 1 << 40})
	for _, field := range []string{"TenantHeader", "DefaultTenant", "MaxDecodedBytes"} {
		if err == nil || !strings.Contains(err.Error(), field+":") {
			t.Errorf("error %v does not name %s", err, field)
		}
	}
	if !errors.Is(err, ErrInvalidTenant) {
		t.Errorf("error %v does not match ErrInvalidTenant", err)
	}
	if err := (HandlerOptions{}).Validate(); err != nil {
		t.Errorf("the zero value: %v", err)
	}
}

func TestHandlerLogs(t *testing.T) {
	var log bytes.Buffer
	to := newFakeStorage()
	h := newTestHandler(t, to, HandlerOptions{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	rwRequest{message: v1(v1Series([]string{"a", "b"}, nowMs()))}.send(t, h)
	rwRequest{method: "GET"}.send(t, h)
	if log.Len() > 0 {
		t.Errorf("what a sender does wrong is logged above debug: %s", log.String())
	}
	to.commitErr = errBroken
	rwRequest{message: goodV1()}.send(t, h)
	if out := log.String(); !strings.Contains(out, "level=ERROR") || !strings.Contains(out, errBroken.Error()) || !strings.Contains(out, "default-tenant") {
		t.Errorf("a failing storage is logged as %q", out)
	}
}

// Requests side by side do not see each other's memory.
func TestHandlerConcurrently(t *testing.T) {
	h := newTestHandler(t, newFakeStorage(), HandlerOptions{})
	done := make(chan *httptest.ResponseRecorder)
	const workers, rounds = 8, 50
	for w := range workers {
		go func() {
			for r := range rounds {
				msg := v1(v1Series(named("m"+strconv.Itoa(w), "round", strconv.Itoa(r)), nowMs()))
				req := rwRequest{message: msg}
				if r%2 == 1 {
					req.message = v2Of(msg)
				}
				done <- req.send(t, onlyHTTP{h})
			}
		}()
	}
	for range workers * rounds {
		if rec := <-done; rec.Code != 204 {
			t.Errorf("status %d: %s", rec.Code, rec.Body)
		}
	}
}

type onlyHTTP struct{ http.Handler }

// A request of the largest size does not stay in memory.
func TestScratchIsBounded(t *testing.T) {
	s := newHandlerScratch()
	s.decoded = make([]byte, 0, maxScratchBytes+1)
	if s.recycle() {
		t.Error("a scratch over the bound is kept")
	}
	s = newHandlerScratch()
	s.decoded = make([]byte, 0, 1<<20)
	s.run.tenant, s.run.to = "x", newFakeStorage()
	s.run.seen.add(1)
	if !s.recycle() {
		t.Error("a scratch of usual size is dropped")
	}
	if s.run.tenant != "" || s.run.to != nil || len(s.run.seen.lasts) > 0 {
		t.Error("a recycled scratch remembers its request")
	}
}
