package receive

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
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
	buffers sync.Pool // of *bodyBuffer
	stored  sync.Map  // by the name of each tenant of which something was stored
	load    *overload

	rules      uint64 // no two handlers have the same
	labelRules maphash.Seed
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
	h := &Handler{to: to, opts: opts, load: newOverload(), rules: rand.Uint64(), labelRules: maphash.MakeSeed()}
	var err error
	if h.metrics, err = newHandlerMetrics(opts.Registerer, newLimitMetrics(h.load, h.limitSet)); err != nil {
		return nil, err
	}
	h.buffers.New = func() any { return new(bodyBuffer) }
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
	tally   *tally        // nil if no sample got as far as a verdict
	retry   bool          // sending the request again may help
	after   time.Duration // and when; zero is RetryAfter
}

// ServeHTTP handles one remote write request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	h.metrics.inFlight.Inc()
	defer h.metrics.inFlight.Dec()

	h.limitBodyTime(w, r)
	var a handlerAnswer
	in := &admission{}
	defer in.release()
	if err := h.serve(&a, in, w, r); err != nil {
		a.status, a.text, a.tally, a.retry = err.status, err.text, nil, err.retry
		h.refused(&a, in.tenant, err)
		h.log(r, slog.LevelDebug, "remote write request refused", "status", err.status, "err", err.text)
	}
	h.write(w, &a)
	h.metrics.request(&a, time.Since(start))
	h.recycle(in)
}

// serve checks a request in the order of what costs least, and appends it.
func (h *Handler) serve(a *handlerAnswer, in *admission, w http.ResponseWriter, r *http.Request) *requestError {
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
	if err := h.admit(in, tenant, r); err != nil {
		return err
	}
	if err := h.readBody(in, w, r); err != nil {
		return err
	}
	if err := in.takeTurn(r.Context(), h.metrics.limits); err != nil {
		return err
	}
	s, body := h.scratch.Get().(*handlerScratch), in.buffer.b
	in.scratch = s
	if s.decoded, err = decompress(body, s.decoded, in.decodedLimit(h.opts.MaxDecodedBytes), in.decodedRoom); err != nil {
		return err
	}
	h.metrics.sizes(len(body), len(s.decoded))
	if err := s.run.req.Reset(a.version, s.decoded); err != nil {
		return refuseRequest(http.StatusBadRequest, "%v", err)
	}
	if err := in.checkRequest(&s.run.req); err != nil {
		return err
	}
	return h.append(a, in, replica, r)
}

func (h *Handler) append(a *handlerAnswer, in *admission, replica int, r *http.Request) *requestError {
	run, tenant := &in.scratch.run, in.tenant
	run.to, run.tenant, run.limits = h.to, tenant, h.limits(in, len(in.scratch.decoded))
	if err := h.appendOrRoute(r.Context(), run, replica); err != nil {
		return refuseRequest(http.StatusBadRequest, "%s (nothing of this request is stored)", err)
	}
	in.settleRate(run.tally.total())
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
	if h.knownTenant(tenant) {
		return tenant
	}
	if t.written(floatSample)+t.written(histogramSample) == 0 {
		return ""
	}
	h.stored.Store(strings.Clone(tenant), struct{}{})
	return tenant
}

// knownTenant reports whether a tenant may stand in metrics.
func (h *Handler) knownTenant(tenant string) bool {
	_, ok := h.stored.Load(tenant)
	return ok || tenant == h.opts.DefaultTenant
}

// limits fixes the bounds for one request.
func (h *Handler) limits(in *admission, decoded int) appendLimits {
	limits := appendLimits{
		maxTime: math.MaxInt64, labelBytes: h.opts.MaxDecodedBytes,
		relabel: h.opts.Relabel, rules: h.rules,
		labels: in.limits.labels(), activeSeries: in.limits.ActiveSeries,
	}
	if limits.labels != (labelLimits{}) {
		// Under other limits all labels are looked at anew.
		limits.rules ^= maphash.Comparable(h.labelRules, limits.labels)
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
	if after := cmp.Or(a.after, h.opts.RetryAfter); a.retry && h.opts.RetryAfter > 0 {
		header.Set("Retry-After", strconv.Itoa(int((after+time.Second-1)/time.Second)))
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
