package otlp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"

	"github.com/prometheus/prometheus/storage/remote/otlptranslator/prometheusremotewrite"
	"github.com/prometheus/prometheus/util/annotations"

	"github.com/varve-tsdb/varve/receive"
)

// protocol stands in the label version of the receive.Handler's metrics.
const protocol = "otlp"

// maxScratchBytes bounds what one request leaves behind for the next.
const maxScratchBytes = 4 << 20

// Handler receives OTLP metrics over HTTP and hands them to a receive.Handler.
// See the package documentation for what it answers. It may serve any number of
// requests at once, under any path.
type Handler struct {
	to       *receive.Handler
	opts     Options
	settings prometheusremotewrite.Settings
	metrics  *metrics
	deltas   *deltaStreams // nil unless they are made cumulative
	scratch  sync.Pool     // of *scratch
	gzips    sync.Pool     // of *gzip.Reader
}

// scratch is the memory of one request.
type scratch struct {
	decoded   []byte
	app       appender
	converter *prometheusremotewrite.PrometheusConverter
}

// NewHandler returns a Handler whose samples go the way of those that to
// receives by remote write: to the same storage, by the same rules for tenants,
// within the same limits, and counted together. The error says what is wrong
// with the options, or that the metrics are registered already.
func NewHandler(to *receive.Handler, opts Options) (*Handler, error) {
	if to == nil {
		return nil, errors.New("otlp handler: there is no receive.Handler to hand samples to")
	}
	if err := opts.Validate(); err != nil {
		return nil, fmt.Errorf("otlp handler options: %w", err)
	}
	opts = opts.withDefaults()
	h := &Handler{to: to, opts: opts, settings: opts.settings()}
	if opts.Delta == DeltaCumulative {
		h.deltas = newDeltaStreams(opts.MaxDeltaStreams, opts.DeltaMaxStale)
	}
	var err error
	if h.metrics, err = newMetrics(opts.Registerer, h.deltas.count); err != nil {
		return nil, err
	}
	h.scratch.New = func() any {
		return &scratch{converter: prometheusremotewrite.NewPrometheusConverter(nil)}
	}
	return h, nil
}

// ServeHTTP handles one export request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	in := h.to.Intake(w, r, protocol)
	defer in.Close()
	s := h.scratch.Get().(*scratch)
	defer h.recycle(s)

	f, err := h.serve(w, r, in, s)
	if err == nil {
		return
	}
	in.Answer(err.Status(), err.Retryable(), err.Error())
	writeStatus(w, f.mediaType, err.Status(), err.Error())
}

// serve checks a request in the order of what costs least, appends it, and
// answers unless there is an error.
func (h *Handler) serve(w http.ResponseWriter, r *http.Request, in *receive.Intake, s *scratch) (format, receive.RequestError) {
	f, bad := requestFormat(r.Header)
	if err := in.Begin(); err != nil {
		return f, err
	}
	if bad != nil {
		return f, bad
	}
	body, err := in.Body()
	if err != nil {
		return f, err
	}
	limits := in.Limits()
	if f.gzip {
		if s.decoded, err = h.decompress(body, s.decoded, limits.DecodedBytes, in.Room); err != nil {
			return f, err
		}
		body = s.decoded
	}
	in.Decoded(len(body))
	md, bad := decode(f, body, limits.DecodedBytes)
	if bad != nil {
		return f, bad
	}
	screen := h.newScreen(limits, in.Refuse)
	if h.deltas != nil {
		screen.deltas = h.deltas.begin(r.Context(), in.Tenant())
		defer screen.deltas.rollback()
	}
	parts := screen.request(md, h.settings)
	if err := screen.gaveUp(); err != nil {
		return f, err
	}
	in.RefuseExemplars(screen.exemplars)
	s.app.reset()
	if err := h.translate(r.Context(), in, s, parts); err != nil {
		return f, err
	}
	if lost := screen.kept - s.app.points; lost > 0 {
		screen.rejected += lost
		in.Refuse(receive.Refusal{Reason: receive.ReasonRefused, Floats: lost, Subject: "of this request", Err: errUntranslated})
	}
	return f, h.append(w, r, f, in, s, screen)
}

var errUntranslated = errors.New("it could not be translated to Prometheus' model; the log tells more")

// translate runs the translator over all parts. An error is one of the request
// as a whole.
func (h *Handler) translate(ctx context.Context, in *receive.Intake, s *scratch, parts []part) (err receive.RequestError) {
	// Nothing is known that it panics over, but its code is not ours, and a
	// sender whose connection breaks would come again with the same.
	defer func() {
		if p := recover(); p != nil {
			in.Log(slog.LevelError, "the translator of OTLP failed", "panic", p)
			err = refuse(http.StatusBadRequest, "translating the request to Prometheus' model failed: %v (nothing of it is stored)", p)
		}
	}()
	s.converter.Reset(&s.app)
	for _, p := range parts {
		warnings, errs := s.converter.FromMetrics(ctx, p.md, p.settings)
		h.warn(in, warnings)
		if ctx.Err() != nil {
			return cancelled(ctx.Err())
		}
		if errs != nil {
			in.Log(slog.LevelWarn, "some metrics of OTLP could not be translated", "err", errs)
		}
	}
	return nil
}

func cancelled(err error) *retryError {
	return &retryError{fmt.Sprintf("the request was cancelled: %v; send it again", err)}
}

// retryError is a request that has to be sent again.
type retryError struct{ text string }

func (e *retryError) Error() string { return e.text }
func (*retryError) Status() int     { return http.StatusServiceUnavailable }
func (*retryError) Retryable() bool { return true }

func (h *Handler) warn(in *receive.Intake, warnings annotations.Annotations) {
	if len(warnings) == 0 {
		return
	}
	for category, n := range prometheusremotewrite.CountWarningsByCategory(warnings) {
		h.metrics.warnings.WithLabelValues(string(category)).Add(float64(n))
	}
	const most = 10
	texts, _ := warnings.AsStrings("", most, most)
	in.Log(slog.LevelDebug, "warnings of the translation of OTLP", "warnings", texts)
}

// append hands over what was translated and answers by what became of it.
func (h *Handler) append(w http.ResponseWriter, r *http.Request, f format, in *receive.Intake, s *scratch, screen *screen) receive.RequestError {
	refused := refusals{of: &s.app}
	if len(s.app.samples) > 0 {
		if err := in.Append(r.Context(), s.app.message(), refused.add); err != nil {
			var limited receive.RequestError
			if errors.As(err, &limited) {
				return limited
			}
			// A mistake of ours, not the sender's; but the same will happen again.
			in.Log(slog.LevelError, "what was translated from OTLP could not be read back", "err", err)
			return refuse(http.StatusBadRequest, "the request could not be handed on: %v (nothing of it is stored)", err)
		}
	}
	out := in.Outcome()
	if out.Retry {
		return &retryError{out.Text}
	}
	if screen.deltas != nil {
		screen.deltas.commit()
	}
	rejected := screen.rejected + len(refused.counted)
	h.metrics.rejected.Add(float64(rejected))
	if rejected > 0 && out.Accepted == 0 {
		return refuse(http.StatusBadRequest, "%s", out.Text)
	}
	text := out.Text
	if screen.untyped > 0 {
		text += fmt.Sprintf("%d metrics have no data, or data of a type that is not known\n", screen.untyped)
	}
	in.Answer(http.StatusOK, false, text)
	writeStored(w, f.mediaType, rejected, text)
	return nil
}

// recycle keeps the memory of a request for the next, unless it is much.
func (h *Handler) recycle(s *scratch) {
	s.converter.Reset(nil)
	if cap(s.decoded)+s.app.size() <= maxScratchBytes {
		h.scratch.Put(s)
	}
}
