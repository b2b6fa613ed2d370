package receive

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"

	"github.com/varve-tsdb/varve/internal/writepb"
)

const (
	// replicaHeader is by which older routers of Thanos say which copy a request
	// is.
	replicaHeader = "THANOS-REPLICA"
	// peerVersion stands for the version of the protocol in metrics.
	peerVersion = "peer"
)

// errOnlyRoutes is retryable, so that no sender drops what it has for a mistake
// in the hashrings.
var errOnlyRoutes = fmt.Errorf("%w: this receiver stores nothing, it only routes: take it out of the hashrings", ErrUnavailable)

// peerMessageError is why all series of a tenant are refused without having been
// looked at.
type peerMessageError struct {
	tenant string
	err    error
}

func (e *peerMessageError) Error() string {
	return fmt.Sprintf("tenant %q: nothing of its series is stored: %v", e.tenant, e.err)
}

func (e *peerMessageError) Unwrap() error { return e.err }

// Retryable tells that the same bytes fail again.
func (*peerMessageError) Retryable() bool { return false }

// Peer returns the Handler as a Peer in this process, and a PeerAdmitter.
func (h *Handler) Peer() PeerAdmitter { return handlerPeer{h} }

// WritePeer takes series over from another receiver: it is the method Write of
// Peer. What is a replica, or any request if the Handler has no Router, is
// appended here, and its verdict is that of the storage. Replica 0 is routed as a
// sender's request is. It may be called at any time and by several goroutines at
// once, and keeps nothing of req.
//
// Messages count in GlobalLimits as the bodies of requests do; limits of tenants
// have been checked where the series came from, but for those of labels and active
// series, which are checked where they are stored.
//
// The error is a *PeerRefusal if some series are not stored; or an *OverloadError;
// or ErrBadReplica; or, if this receiver stores nothing by itself, ErrUnavailable.
// A message that is malformed has all its series refused for good.
// PeerSeries.Series tells how many that are, and is not looked at otherwise; if it
// does not, the error is that of the whole request, and is final.
func (h *Handler) WritePeer(ctx context.Context, req *PeerRequest) error {
	size := int64(0)
	for i := range req.Tenants {
		size += int64(len(req.Tenants[i].Message))
	}
	in, err := h.admitPeer(size)
	if err != nil {
		return err
	}
	defer in.Release()
	return in.Write(ctx, req)
}

// writePeer returns the status that stands for the error, too.
func (h *Handler) writePeer(ctx context.Context, req *PeerRequest) (int, error) {
	w := peerWrite{h: h, replica: req.Replica, status: http.StatusNoContent}
	for i := range req.Tenants {
		w.tenant(ctx, &req.Tenants[i])
	}
	switch {
	case w.err != nil:
		return w.status, w.err
	case len(w.refused) == 0:
		return w.status, nil
	}
	return w.status, &PeerRefusal{Refused: w.refused, Text: strings.TrimSpace(w.text.String())}
}

// checkReplica returns an error if this receiver cannot take a replica of series
// of the tenant.
func (h *Handler) checkReplica(tenant string, replica int) error {
	switch {
	case h.to == nil && replica != 0:
		return errOnlyRoutes
	case h.opts.Router != nil:
		return h.opts.Router.checkReplica(tenant, replica)
	}
	return nil
}

// requestReplica returns which copy of its series a request is, 0 if it is one
// from a sender. Without a Router it does not matter.
func (h *Handler) requestReplica(header http.Header, tenant string) (int, *requestError) {
	text := header.Get(replicaHeader)
	if text == "" || h.opts.Router == nil {
		return 0, nil
	}
	replica, err := strconv.Atoi(text)
	if err != nil || replica < 0 {
		return 0, refuseRequest(http.StatusBadRequest, "header %s: %q is not a number from 0", replicaHeader, text)
	}
	if err := h.checkReplica(tenant, replica); err != nil {
		refusal := refuseRequest(http.StatusServiceUnavailable, "header %s: %v", replicaHeader, err)
		refusal.retry = true
		return 0, refusal
	}
	return replica, nil
}

// peerWrite is one call of WritePeer.
type peerWrite struct {
	h       *Handler
	replica int
	first   int // the position of the first series of the tenant at hand
	refused map[int]Reason
	text    strings.Builder
	status  int
	err     error // that of the whole request
}

// tenant appends the series of one tenant. Those of others do not depend on it.
func (w *peerWrite) tenant(ctx context.Context, series *PeerSeries) {
	s := w.h.scratch.Get().(*handlerScratch)
	run := &s.run
	// No message has more series than bytes.
	n := min(max(series.Series, 0), len(series.Message))
	err := run.req.Reset(writepb.V1, series.Message)
	if err == nil {
		n = run.req.NumSeries()
		if err = ValidateTenant(series.Tenant); err == nil {
			err = w.append(ctx, run, series)
		}
	}
	if err != nil {
		w.refuseAll(n, &peerMessageError{series.Tenant, err})
	}
	w.first += n
	if s.recycle() {
		w.h.scratch.Put(s)
	}
}

func (w *peerWrite) append(ctx context.Context, run *appendRun, series *PeerSeries) error {
	h := w.h
	// Their other limits have been checked where it came from.
	in := &admission{tenant: series.Tenant, limits: h.limitSet().For(series.Tenant)}
	run.to, run.tenant, run.limits = h.to, series.Tenant, h.limits(in, len(series.Message))
	run.askOutcomes()
	if err := h.appendOrRoute(ctx, run, w.replica); err != nil {
		return err
	}
	for i, outcome := range run.outcomes {
		if outcome.reason.Class() != Accepted {
			w.refuse(i, outcome.reason)
		}
	}
	t := &run.tally
	if status := t.status(); status != http.StatusNoContent {
		w.status = max(w.status, status)
		w.text.WriteString(t.text(series.Tenant))
	}
	h.metrics.verdicts(h.tenantLabel(series.Tenant, t), t, 0, 0)
	if t.failure != nil {
		h.opts.Logger.LogAttrs(context.WithoutCancel(ctx), slog.LevelError, "what a receiver has forwarded failed in the storage",
			slog.String("tenant", series.Tenant), slog.Any("err", t.failure))
	}
	return nil
}

// refuse notes the reason for a series, by its position in its message.
func (w *peerWrite) refuse(i int, r Reason) {
	if w.refused == nil {
		w.refused = map[int]Reason{}
	}
	w.refused[w.first+i] = r
}

// refuseAll refuses the series of a tenant without having looked at them.
func (w *peerWrite) refuseAll(n int, err error) {
	reason := ReasonOf(err)
	for i := range n {
		w.refuse(i, reason)
	}
	w.status = max(w.status, reason.Status())
	w.text.WriteString(err.Error() + "\n")
	if n == 0 {
		w.err = err
	}
}
