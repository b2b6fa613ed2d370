package receive

import (
	"cmp"
	"context"
	"log/slog"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/varve-tsdb/varve/internal/writepb"
)

// Intake is one request in a protocol that a Handler does not speak itself,
// as package receive/otlp speaks OTLP. The protocol reads the body and writes
// the answer in its own form; the rest is the Handler's: which tenant, how
// much, what becomes of each sample, metrics and log. So a host has one set of
// limits and one count of samples, whatever its senders speak.
//
// The order of calls is Begin, Body, Refuse as often as needed, Append at most
// once, Answer, and in every case Close. An Intake is not safe for concurrent use.
type Intake struct {
	h         *Handler
	w         http.ResponseWriter
	r         *http.Request
	protocol  string
	start     time.Time
	tally     tally
	admission admission
	after     time.Duration // when to come again; zero is RetryAfter
	status    int
}

// RequestError is a request that ends before any of its samples gets a verdict.
// The text of its Error is for the sender.
type RequestError interface {
	error
	// Status is the HTTP status of the answer in remote write.
	Status() int
	// Retryable tells whether sending the same request again may help.
	Retryable() bool
}

// Status is the HTTP status that the request is answered with.
func (e *requestError) Status() int { return e.status }

// Retryable tells whether sending the same request again may help.
func (e *requestError) Retryable() bool { return e.retry }

// Intake starts to take in a request of another protocol, whose name stands in
// the label version of the metrics. The caller must Close it.
func (h *Handler) Intake(w http.ResponseWriter, r *http.Request, protocol string) *Intake {
	h.metrics.inFlight.Inc()
	h.limitBodyTime(w, r)
	return &Intake{h: h, w: w, r: r, protocol: protocol, start: time.Now()}
}

// Begin checks what costs least: that the request is a POST, names a valid
// tenant, or none and is for the default one, and that there is room for it now.
func (in *Intake) Begin() RequestError {
	if in.r.Method != http.MethodPost {
		in.w.Header().Set("Allow", http.MethodPost)
		return refuseRequest(http.StatusMethodNotAllowed, "method %s is not allowed: this is sent with POST", in.r.Method)
	}
	tenant, err := requestTenant(in.r.Header, in.h.opts.TenantHeader, in.h.opts.DefaultTenant)
	if err != nil {
		return err
	}
	return in.refused(in.h.admit(&in.admission, tenant, in.r))
}

// refused counts an error if it is that of a limit.
func (in *Intake) refused(err *requestError) RequestError {
	if err == nil {
		return nil
	}
	var a handlerAnswer
	in.h.refused(&a, in.admission.tenant, err)
	in.after = a.after
	return err
}

// Tenant is the tenant of the request, known after Begin.
func (in *Intake) Tenant() string { return in.admission.tenant }

// Body reads the body as it was sent, up to MaxBodyBytes, and waits for the turn
// of the request. The body is valid until Close. One that did not arrive in full is
// a retryable error.
func (in *Intake) Body() ([]byte, RequestError) {
	if err := in.h.readBody(&in.admission, in.w, in.r); err != nil {
		return nil, in.refused(err)
	}
	if err := in.admission.takeTurn(in.r.Context(), in.h.metrics.limits); err != nil {
		return nil, in.refused(err)
	}
	in.admission.scratch = in.h.scratch.Get().(*handlerScratch)
	return in.body(), nil
}

func (in *Intake) body() []byte {
	if in.admission.buffer == nil {
		return nil
	}
	return in.admission.buffer.b
}

// Room asks for the memory of size bytes of decompressed body, before they are
// decompressed.
func (in *Intake) Room(size int64) RequestError { return in.refused(in.admission.coverDecoded(size)) }

// Decoded notes the size of the decompressed body, in bytes, for the metrics.
func (in *Intake) Decoded(size int) { in.h.metrics.sizes(len(in.body()), size) }

// IntakeLimits are what the protocol must keep to, both inclusive.
type IntakeLimits struct {
	// DecodedBytes bounds the decompressed body; MaxInt64 if nothing does.
	DecodedBytes int64
	// LabelBytes bounds the labels of all series of the request, written out.
	LabelBytes int64
	// Newest is the time that no sample may be later than.
	Newest time.Time
}

// Limits returns the limits of this request.
func (in *Intake) Limits() IntakeLimits {
	limits := in.h.limits(&in.admission, len(in.body()))
	out := IntakeLimits{DecodedBytes: in.admission.decodedLimit(in.h.opts.MaxDecodedBytes), LabelBytes: limits.labelBytes, Newest: time.UnixMilli(limits.maxTime)}
	if out.DecodedBytes < 0 {
		out.DecodedBytes = math.MaxInt64
	}
	return out
}

// Refusal is something of a request that the protocol itself refuses.
type Refusal struct {
	Reason Reason
	// Floats and Histograms count the samples; both may be zero.
	Floats, Histograms int
	// Subject is the series, or what would have become one.
	Subject string
	// Err says what is wrong; it may be nil.
	Err error
}

// Refuse gives samples that do not get as far as the storage their verdict.
func (in *Intake) Refuse(r Refusal) {
	if e := in.tally.refuse(r.Reason, tallyCounts{r.Floats, r.Histograms}); e != nil {
		e.series, e.err = clip(r.Subject, tallySeriesBytes), r.Err
	}
}

// RefuseExemplars counts n exemplars that are invalid. Their samples do not
// suffer from it.
func (in *Intake) RefuseExemplars(n int) { in.tally.exemplars[exemplarInvalid] += n }

// Append appends a message of remote write 2.0 (io.prometheus.write.v2.Request,
// not compressed), at most once. Samples are put into order, looked up if the
// storage seems to have them, and counted, just as those that come by remote
// write. refused is called for each series of the message that is refused for
// good, be it with only some of its samples, by its position, from 0, and in
// ascending order. With a Router, what is refused is what a quorum refuses, wherever
// the series belongs, and it is all samples of the series. An error that is no
// RequestError means that the message is malformed; nothing of it is stored.
func (in *Intake) Append(ctx context.Context, message []byte, refused func(series int)) error {
	run := &in.admission.scratch.run
	if err := run.req.Reset(writepb.V2, message); err != nil {
		return err
	}
	if err := in.admission.checkRequest(&run.req); err != nil {
		return in.refused(err)
	}
	run.to, run.tenant, run.limits = in.h.to, in.admission.tenant, in.h.limits(&in.admission, len(message))
	run.askOutcomes()
	if err := in.h.appendOrRoute(ctx, run, 0); err != nil {
		return err
	}
	for i, outcome := range run.outcomes {
		if outcome.reason.Class() == Final {
			refused(i)
		}
	}
	in.admission.settleRate(run.tally.total())
	in.tally.merge(&run.tally)
	return nil
}

// Outcome is what became of the samples of a request.
type Outcome struct {
	// Accepted, Final and Retryable count the samples of each Class.
	Accepted, Final, Retryable int
	// Retry tells that some of the request may come through if it is sent again.
	Retry bool
	// Text explains what is not stored; it is empty if all is.
	Text string
}

// Outcome returns the verdicts so far.
func (in *Intake) Outcome() Outcome {
	out := Outcome{Retry: in.tally.retryable()}
	for r := range numReasons {
		n := in.tally.samples[r].total()
		switch r.Class() {
		case Accepted:
			out.Accepted += n
		case Final:
			out.Final += n
		case Retryable:
			out.Retryable += n
		}
	}
	if in.tally.status() != http.StatusNoContent {
		out.Text = in.tally.text(in.admission.tenant)
	}
	return out
}

// Answer counts the request as answered with status, logs what was refused, and
// if retry is true sets Retry-After. Writing the answer is the caller's, next.
// text is for the log where no sample got a verdict.
func (in *Intake) Answer(status int, retry bool, text string) {
	in.status = status
	if after := cmp.Or(in.after, in.h.opts.RetryAfter); retry && after > 0 {
		in.w.Header().Set("Retry-After", strconv.Itoa(int((after+time.Second-1)/time.Second)))
	}
	a := handlerAnswer{status: status, text: in.Outcome().Text, tally: &in.tally, retry: retry}
	if a.text == "" && text != "" {
		in.h.log(in.r, slog.LevelDebug, "request refused", "protocol", in.protocol, "status", status, "err", text)
	}
	if tenant := in.admission.tenant; tenant != "" {
		in.h.metrics.verdicts(in.h.tenantLabel(tenant, &in.tally), &in.tally, 0, 0)
		in.h.logVerdicts(in.r, tenant, &a, nil)
	}
}

// Log writes a message with the Handler's logger, if it has one.
func (in *Intake) Log(level slog.Level, msg string, args ...any) {
	in.h.log(in.r, level, msg, append(args, "tenant", in.admission.tenant)...)
}

// Close gives the memory of the request back. It must be called once.
func (in *Intake) Close() {
	in.h.metrics.answered(in.protocol, in.status, time.Since(in.start))
	in.h.metrics.inFlight.Dec()
	in.h.recycle(&in.admission)
	in.admission.release()
}
