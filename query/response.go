package query

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	jsoniter "github.com/json-iterator/go"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/util/annotations"

	"github.com/varve-tsdb/varve/internal/refusal"
)

// errorType is the errorType of the envelope and the status that goes with it.
type errorType struct {
	name   string
	status int
}

// The types that clients know. 499 is what nginx made customary for a client
// that went away.
var (
	errorBadData     = errorType{"bad_data", http.StatusBadRequest}
	errorExecution   = errorType{"execution", http.StatusUnprocessableEntity}
	errorCanceled    = errorType{"canceled", 499}
	errorTimeout     = errorType{"timeout", http.StatusServiceUnavailable}
	errorInternal    = errorType{"internal", http.StatusInternalServerError}
	errorNotFound    = errorType{"not_found", http.StatusNotFound}
	errorUnavailable = errorType{"unavailable", http.StatusServiceUnavailable}
	errorMethod      = errorType{"bad_data", http.StatusMethodNotAllowed}
	errorBusy        = errorType{"unavailable", http.StatusTooManyRequests}
	errorMedia       = errorType{"bad_data", http.StatusUnsupportedMediaType}
)

// apiError is an error whose type is known.
type apiError struct {
	typ errorType
	err error
}

func (e *apiError) Error() string { return e.err.Error() }
func (e *apiError) Unwrap() error { return e.err }

func badParam(name string, err error) error {
	return &apiError{errorBadData, fmt.Errorf("invalid parameter %q: %w", name, err)}
}

// typeOf says what kind of failure err is. Only types and marks count, never
// the text.
func typeOf(err error) errorType {
	if known, ok := errors.AsType[*apiError](err); ok {
		return known.typ
	}
	internal := isType[*panicError](err)
	if s, ok := errors.AsType[promql.ErrStorage](err); ok && s.Err != nil {
		err, internal = s.Err, true // it has no Unwrap
	}
	switch kind, _ := refusal.Of(err); kind {
	case refusal.Busy:
		return errorBusy
	case refusal.Away:
		return errorUnavailable
	case refusal.Final:
		return errorExecution
	}
	switch {
	case isType[promql.ErrQueryCanceled](err), errors.Is(err, context.Canceled):
		return errorCanceled
	case isType[promql.ErrQueryTimeout](err), errors.Is(err, context.DeadlineExceeded):
		return errorTimeout
	case internal:
		return errorInternal
	default:
		return errorExecution
	}
}

func isType[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

// result is a successful answer.
type result struct {
	data     any // one of the kinds that writeData knows; nil for no content
	warnings annotations.Annotations
	close    func() // called once data is written; may be nil
}

// respondError writes the envelope of an error.
func (h *Handler) respondError(w http.ResponseWriter, r *http.Request, err error) {
	typ := typeOf(err)
	text, marshalErr := jsonAPI.Marshal(struct {
		Status    string `json:"status"`
		ErrorType string `json:"errorType"`
		Error     string `json:"error"`
	}{"error", typ.name, err.Error()})
	if marshalErr != nil {
		http.Error(w, marshalErr.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	if kind, after := refusalOf(err); kind == refusal.Busy {
		w.Header().Set("Retry-After", strconv.Itoa(int(max((after+time.Second-1)/time.Second, 1))))
	}
	b := newBody(w, r, typ.status)
	h.sent(r, b.end(text))
}

// respond writes the envelope of a success, as it is encoded.
func (h *Handler) respond(w http.ResponseWriter, r *http.Request, res *result) {
	if res.data == nil {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	warnings, infos, complete := words(res.warnings, r.Form.Get("query"))
	if !complete {
		w.Header().Set("Cache-Control", "no-store")
	}
	b := newBody(w, r, http.StatusOK)
	stream := jsonAPI.BorrowStream(nil)
	defer jsonAPI.ReturnStream(stream)
	stream.Attachment = b
	stream.WriteRaw(`{"status":"success","data":`)
	writeData(stream, res.data)
	writeStrings(stream, "warnings", warnings)
	writeStrings(stream, "infos", infos)
	stream.WriteObjectEnd()
	if stream.Error != nil && !b.started {
		h.respondError(w, r, &apiError{errorInternal, fmt.Errorf("encode answer: %w", stream.Error)})
		return
	}
	h.sent(r, errors.Join(stream.Error, b.end(stream.Buffer())))
}

func writeStrings(stream *jsoniter.Stream, field string, list []string) {
	if len(list) > 0 {
		stream.WriteMore()
		stream.WriteObjectField(field)
		stream.WriteVal(list)
	}
}

// sent logs an answer that could not be sent. That is the client's doing, and
// there is nobody left to tell.
func (h *Handler) sent(r *http.Request, err error) {
	if err != nil {
		h.opts.Logger.DebugContext(r.Context(), "answer could not be sent", "path", r.URL.Path, "err", err)
	}
}

// words turns annotations into at most ten warnings and ten infos, and a line
// about how many were left out. Those that are not about the query itself come
// first: they say that the answer is not complete.
func words(all annotations.Annotations, query string) (warnings, infos []string, complete bool) {
	var storage, rest annotations.Annotations
	for _, err := range all {
		switch {
		case errors.Is(err, annotations.PromQLInfo), errors.Is(err, annotations.PromQLWarning):
			rest.Add(err)
		default:
			storage.Add(err)
		}
	}
	first, _ := storage.AsStrings(query, 0, 0)
	more, infos := rest.AsStrings(query, 0, 0)
	for _, list := range [][]string{first, more, infos} {
		slices.Sort(list)
	}
	return atMost(append(first, more...), "warning"), atMost(infos, "info"), len(first) == 0
}

func atMost(list []string, what string) []string {
	const most = 10
	if len(list) <= most {
		return list
	}
	return append(list[:most:most], fmt.Sprintf("%d more %s annotations omitted", len(list)-most, what))
}
