package receive

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/varve-tsdb/varve/internal/writepb"
)

// The headers of 2.0 that say how much of a request is stored.
const (
	headerSamplesWritten    = "X-Prometheus-Remote-Write-Samples-Written"
	headerHistogramsWritten = "X-Prometheus-Remote-Write-Histograms-Written"
	headerExemplarsWritten  = "X-Prometheus-Remote-Write-Exemplars-Written"
)

// Handler receives Prometheus remote write 1.0 and 2.0 over HTTP and appends
// it to an Appendable. See the package documentation for what it answers. It
// may serve any number of requests at once, under any path.
type Handler struct {
	to      Appendable
	opts    HandlerOptions
	metrics *handlerMetrics
	scratch sync.Pool // of *handlerScratch
	stored  sync.Map  // by the name of each tenant of which something was stored
	rules   uint64    // no two handlers have the same
}

// NewHandler returns a Handler that appends to to, which may be nil if the
// options have a Router that only routes. The error says what is wrong with the
// arguments, or that the metrics are registered already.
func NewHandler(to Appendable, opts HandlerOptions) (*Handler, error) {
	if err := opts.Validate(); err != nil {
		return nil, fmt.Errorf("receive handler options: %w", err)
	}
	if err := checkStorage(to, opts); err != nil {
		return nil, fmt.Errorf("receive handler: %w", err)
	}
	byDefault := opts.TooFarInFuture == 0
	opts = opts.withDefaults()
	if bound, ok := to.(leadBounder); ok && byDefault {
		opts.TooFarInFuture = min(opts.TooFarInFuture, bound.MaxLead())
	}
	metrics, err := newHandlerMetrics(opts.Registerer)
	if err != nil {
		return nil, err
	}
	h := &Handler{to: to, opts: opts, metrics: metrics, rules: rand.Uint64()}
	h.scratch.New = func() any { return newHandlerScratch() }
	return h, nil
}

// checkStorage returns an error if what a Handler is to append to does not fit
// what its Router does.
func checkStorage(to Appendable, opts HandlerOptions) error {
	switch routes := opts.Router != nil && opts.Router.self == ""; {
	case to == nil && !routes:
		return errors.New("there is no storage to append to, and no Router that sends everything to other receivers: give it one, or a Router whose self is empty")
	case to == nil && len(opts.Relabel) > 0:
		return errors.New("a receiver that only routes applies no Relabel: give it to those that store")
	}
	return nil
}

// leadBounder is an optional power of an Appendable: to say how far ahead of
// the clock a sample may be and still leave room for those of others.
type leadBounder interface{ MaxLead() time.Duration }

// handlerAnswer is what a request is answered, and what is counted of it.
type handlerAnswer struct {
	version writepb.Version // zero until it is known
	status  int
	text    string
	tally   *tally // nil if no sample got as far as a verdict
	retry   bool   // sending the request again may help
}

// ServeHTTP handles one remote write request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	h.metrics.inFlight.Inc()
	defer h.metrics.inFlight.Dec()

	s := h.scratch.Get().(*handlerScratch)
	var a handlerAnswer
	if err := h.serve(&a, s, w, r); err != nil {
		a.status, a.text, a.tally, a.retry = err.status, err.text, nil, err.retry
		h.log(r, slog.LevelDebug, "remote write request refused", "status", err.status, "err", err.text)
	}
	h.write(w, &a)
	h.metrics.request(&a, time.Since(start))
	if s.recycle() {
		h.scratch.Put(s)
	}
}

// serve checks a request in the order of what costs least, and appends it.
func (h *Handler) serve(a *handlerAnswer, s *handlerScratch, w http.ResponseWriter, r *http.Request) *requestError {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		return refuseRequest(http.StatusMethodNotAllowed, "method %s is not allowed: remote write is sent with POST", r.Method)
	}
	var err *requestError
	if a.version, err = requestVersion(r.Header); err != nil {
		return err
	}
	tenant, err := requestTenant(r.Header, h.opts.TenantHeader, h.opts.DefaultTenant)
	if err != nil {
		return err
	}
	replica, err := h.requestReplica(r.Header, tenant)
	if err != nil {
		return err
	}
	if s.body, err = requestBody(w, r, s.body, h.opts.MaxBodyBytes); err != nil {
		return err
	}
	if s.decoded, err = decompress(s.body, s.decoded, h.opts.MaxDecodedBytes); err != nil {
		return err
	}
	h.metrics.sizes(len(s.body), len(s.decoded))
	if err := s.run.req.Reset(a.version, s.decoded); err != nil {
		return refuseRequest(http.StatusBadRequest, "%v", err)
	}
	return h.append(a, s, tenant, replica, r)
}

func (h *Handler) append(a *handlerAnswer, s *handlerScratch, tenant string, replica int, r *http.Request) *requestError {
	run := &s.run
	run.to, run.tenant, run.limits = h.to, tenant, h.limits(len(s.decoded))
	if err := h.appendOrRoute(r.Context(), run, replica); err != nil {
		return refuseRequest(http.StatusBadRequest, "%s (nothing of this request is stored)", err)
	}
	failed, last := run.appendMetadata(r.Context())
	a.tally, a.status, a.retry = &run.tally, run.tally.status(), run.tally.retryable()
	if a.status != http.StatusNoContent {
		a.text = run.tally.text(tenant)
	}
	h.metrics.verdicts(h.tenantLabel(tenant, a.tally), a.tally, run.req.NumMetadata(), failed)
	h.logVerdicts(r, tenant, a, last)
	return nil
}

// appendOrRoute appends the request in run, here or on the receivers that its
// series belong on. What is a replica already is appended here. On error the
// request is malformed and nothing of it is stored; otherwise the tally of run
// says it all.
func (h *Handler) appendOrRoute(ctx context.Context, run *appendRun, replica int) error {
	if h.opts.Router != nil && replica == 0 {
		return h.opts.Router.route(ctx, run)
	}
	return run.run(ctx)
}

// tenantLabel returns the tenant as it stands in metrics: not at all before
// something of it was stored, or requests with made-up names would leave a
// series each.
func (h *Handler) tenantLabel(tenant string, t *tally) string {
	if tenant == h.opts.DefaultTenant {
		return tenant
	}
	if _, ok := h.stored.Load(tenant); ok {
		return tenant
	}
	if t.written(floatSample)+t.written(histogramSample) == 0 {
		return ""
	}
	h.stored.Store(strings.Clone(tenant), struct{}{})
	return tenant
}

// limits fixes the bounds for one request.
func (h *Handler) limits(decoded int) appendLimits {
	limits := appendLimits{
		maxTime: math.MaxInt64, labelBytes: h.opts.MaxDecodedBytes,
		relabel: h.opts.Relabel, rules: h.rules,
	}
	if h.opts.TooFarInFuture >= 0 {
		limits.maxTime = time.Now().Add(h.opts.TooFarInFuture).UnixMilli()
	}
	if limits.labelBytes < 0 {
		limits.labelBytes = max(unboundedLabelBytes, int64(decoded))
	}
	return limits
}

func (h *Handler) write(w http.ResponseWriter, a *handlerAnswer) {
	header := w.Header()
	if a.version == writepb.V2 {
		var none tally
		t := a.tally
		if t == nil {
			t = &none
		}
		header.Set(headerSamplesWritten, strconv.Itoa(t.written(floatSample)))
		header.Set(headerHistogramsWritten, strconv.Itoa(t.written(histogramSample)))
		header.Set(headerExemplarsWritten, strconv.Itoa(t.exemplars[exemplarStored]))
	}
	if a.status == http.StatusNoContent {
		w.WriteHeader(a.status)
		return
	}
	if a.retry && h.opts.RetryAfter > 0 {
		header.Set("Retry-After", strconv.Itoa(int((h.opts.RetryAfter+time.Second-1)/time.Second)))
	}
	http.Error(w, a.text, a.status)
}

func (h *Handler) logVerdicts(r *http.Request, tenant string, a *handlerAnswer, metadataErr error) {
	if err := a.tally.failure; err != nil {
		h.log(r, slog.LevelError, "remote write failed in the storage", "tenant", tenant, "status", a.status, "err", err)
	} else if a.text != "" {
		h.log(r, slog.LevelDebug, "remote write request refused in part", "tenant", tenant, "status", a.status, "err", a.text)
	}
	if metadataErr != nil {
		h.log(r, slog.LevelDebug, "metadata was not kept", "tenant", tenant, "err", metadataErr)
	}
}

func (h *Handler) log(r *http.Request, level slog.Level, msg string, args ...any) {
	ctx := context.WithoutCancel(r.Context())
	if h.opts.Logger.Enabled(ctx, level) {
		h.opts.Logger.Log(ctx, level, msg, append(args, "remote", r.RemoteAddr)...)
	}
}
