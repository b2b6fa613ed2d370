package receive

import (
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/varve-tsdb/varve/internal/writepb"
)

// limitSet returns the limits of now.
func (h *Handler) limitSet() *LimitSet {
	if set := h.opts.Limits(); set != nil {
		return set
	}
	return &LimitSet{}
}

// limitBodyTime has the connection fail a read of the body that takes too long.
// It holds for what is refused unread as well: the server reads such a body to
// its end, within bounds, before it answers.
func (h *Handler) limitBodyTime(w http.ResponseWriter, r *http.Request) {
	timeout := h.opts.BodyTimeout
	if timeout < 0 {
		return
	}
	if server, ok := r.Context().Value(http.ServerContextKey).(*http.Server); ok && server.ReadTimeout > 0 {
		timeout = min(timeout, server.ReadTimeout)
	}
	// A connection without deadlines is that of a test, or the host's own.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(timeout))
}

// admit lets a request in, for which nothing but its header has been looked at.
func (h *Handler) admit(in *admission, tenant string, r *http.Request) *requestError {
	set := h.limitSet()
	in.tenant, in.global, in.limits = tenant, set.Global.resolved(), set.For(tenant)
	if h.opts.Router != nil && h.to != nil {
		in.global = in.global.besidePeers()
	}
	if limit := in.bodyLimit(h.opts.MaxBodyBytes); limit >= 0 && r.ContentLength > limit {
		return tooLarge(r.ContentLength, limit)
	}
	return h.load.admit(in, r.ContentLength)
}

// readBody reads the body into in.buffer.
func (h *Handler) readBody(in *admission, w http.ResponseWriter, r *http.Request) *requestError {
	err := in.readBody(w, r, in.bodyLimit(h.opts.MaxBodyBytes), &h.buffers)
	if err == nil && h.opts.BodyTimeout >= 0 {
		// From now on the server reads ahead, to see whether the sender is
		// still there; running into the deadline it would take it for gone.
		_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
	}
	return err
}

// bodyLimit is the bound of the body as sent, negative if there is none.
func (a *admission) bodyLimit(most int64) int64 { return stricter(most, a.limits.RequestBytes) }

// decodedLimit is the bound of the body decompressed, negative if there is none.
func (a *admission) decodedLimit(most int64) int64 { return stricter(most, a.limits.DecodedBytes) }

// stricter returns the lower of a bound that is none if negative, and a limit
// that is none unless positive.
func stricter(bound, limit int64) int64 {
	if limit > 0 && (bound < 0 || limit < bound) {
		return limit
	}
	return bound
}

// checkRequest checks what can be told of a request before it is stored.
func (a *admission) checkRequest(req *writepb.Request) *requestError {
	series, limits := req.NumSeries(), &a.limits
	if most := limits.RequestSeries; most > 0 && series > most {
		return a.counted(req, refuseByLimit(ReasonRequestSeries, "the request of tenant %q has %d series, more than the %d it may have; send fewer a request (max_samples_per_send)", a.tenant, series, most))
	}
	if most := limits.RequestSamples; most > 0 {
		floats, histograms := req.NumSamples()
		if n := floats + histograms; n > most {
			return a.counted(req, refuseByLimit(ReasonRequestSamples, "the request of tenant %q has %d samples, more than the %d it may have; send fewer a request (max_samples_per_send)", a.tenant, n, most))
		}
	}
	// Most series come with one sample each; settleRate knows better.
	if err := a.takeRate(series); err != nil {
		return a.counted(req, err)
	}
	return nil
}

// counted adds how many samples are refused.
func (a *admission) counted(req *writepb.Request, err *requestError) *requestError {
	err.counts[floatSample], err.counts[histogramSample] = req.NumSamples()
	return err
}

// refused counts a request that a limit refused, and says when to come again.
func (h *Handler) refused(a *handlerAnswer, tenant string, err *requestError) {
	if err.reason == 0 {
		return
	}
	label := ""
	if h.knownTenant(tenant) {
		label = tenant
	}
	h.metrics.refused(label, err)
	if a.after = err.after; a.after == 0 && h.opts.RetryAfter > 0 {
		// Those who are refused together must not come again together.
		a.after = time.Second + rand.N(h.opts.RetryAfter)
	}
}
