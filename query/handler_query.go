package query

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/util/annotations"

	"github.com/varve-tsdb/varve/internal/exprsize"
)

// errTruncated is the warning about an answer that a limit cut.
var errTruncated = errors.New("results truncated due to limit")

// queryData is the answer to a query.
type queryData struct {
	value parser.Value
	stats any // nil if not asked for
}

func (h *Handler) query(r *http.Request) (*result, error) {
	limit, err := h.limitParam(r)
	if err != nil {
		return nil, err
	}
	ts, err := timeParam(r, "time", time.Now())
	if err != nil {
		return nil, err
	}
	ctx, err := h.withResolution(r, 0)
	if err != nil {
		return nil, err
	}
	ctx, cancel, err := withTimeout(ctx, r)
	if err != nil {
		return nil, err
	}
	defer cancel()
	opts, err := h.queryOpts(ctx, r)
	if err != nil {
		return nil, err
	}
	q, err := h.engine.NewInstantQuery(ctx, h.samples, opts, r.Form.Get("query"), ts)
	if err != nil {
		return nil, badQuery(ctx, err)
	}
	return h.execute(r.WithContext(ctx), q, limit)
}

func (h *Handler) queryRange(r *http.Request) (*result, error) {
	limit, err := h.limitParam(r)
	if err != nil {
		return nil, err
	}
	start, end, step, err := h.stepParams(r)
	if err != nil {
		return nil, err
	}
	ctx, err := h.withResolution(r, step/5)
	if err != nil {
		return nil, err
	}
	ctx, cancel, err := withTimeout(ctx, r)
	if err != nil {
		return nil, err
	}
	defer cancel()
	opts, err := h.queryOpts(ctx, r)
	if err != nil {
		return nil, err
	}
	q, err := h.engine.NewRangeQuery(ctx, h.samples, opts, r.Form.Get("query"), start, end, step)
	if err != nil {
		return nil, badQuery(ctx, err)
	}
	return h.execute(r.WithContext(ctx), q, limit)
}

// badQuery is the failure to make a query: of its text, unless the request ended
// while it waited in the engine's queue, or there was no room for it.
func badQuery(ctx context.Context, err error) error {
	if ctx.Err() != nil || isBusy(err) {
		return err
	}
	return badParam("query", err)
}

// stepParams returns the inclusive range and the step of a range query.
func (h *Handler) stepParams(r *http.Request) (start, end time.Time, step time.Duration, err error) {
	if start, err = parseTime(r.Form.Get("start")); err != nil {
		return start, end, step, badParam("start", err)
	}
	if end, err = parseTime(r.Form.Get("end")); err != nil {
		return start, end, step, badParam("end", err)
	}
	if end.Before(start) {
		return start, end, step, badParam("end", errors.New("end timestamp must not be before start time"))
	}
	if step, err = parseDuration(r.Form.Get("step")); err != nil {
		return start, end, step, badParam("step", err)
	}
	if step <= 0 {
		return start, end, step, badParam("step", errors.New("zero or negative query resolution step widths are not accepted. Try a positive integer"))
	}
	if step < time.Millisecond {
		return start, end, step, badParam("step", errors.New("steps below one millisecond are not accepted"))
	}
	// In unsigned milliseconds no range overflows.
	if points := uint64(end.UnixMilli()-start.UnixMilli()) / uint64(step.Milliseconds()); points > uint64(h.opts.MaxPoints) {
		return start, end, step, &apiError{errorBadData, fmt.Errorf(
			"exceeded maximum resolution of %s points per timeseries. Try decreasing the query resolution (?step=XX)", thousands(h.opts.MaxPoints))}
	}
	return start, end, step, nil
}

// thousands writes n with commas.
func thousands(n int) string {
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%s,%03d", thousands(n/1000), n%1000)
}

// execute runs a query. The query is closed with the result, whose value it
// owns, or here if there is none.
func (h *Handler) execute(r *http.Request, q promql.Query, limit int) (res *result, err error) {
	defer func() {
		if res == nil {
			q.Close()
		}
	}()
	got := q.Exec(r.Context())
	if got.Err != nil {
		return nil, got.Err
	}
	warnings := got.Warnings
	value, truncated := truncate(got.Value, limit)
	if truncated {
		warnings.Add(errTruncated)
	}
	warnings.Merge(statsWarning(r.Form.Get("stats")))
	data := queryData{value: value}
	if r.Form.Get("stats") != "" {
		data.stats = h.queryStats(r, q.Stats())
	}
	return &result{data: data, warnings: warnings, close: q.Close}, nil
}

func truncate(v parser.Value, limit int) (parser.Value, bool) {
	switch v := v.(type) {
	case promql.Matrix:
		if limit > 0 && len(v) > limit {
			return v[:limit], true
		}
	case promql.Vector:
		if limit > 0 && len(v) > limit {
			return v[:limit], true
		}
	}
	return v, false
}

// statsWarning is about values of the parameter stats that Prometheus will
// refuse one day.
func statsWarning(s string) annotations.Annotations {
	switch s {
	case "", "true", "all":
		return nil
	}
	var ws annotations.Annotations
	return ws.Add(fmt.Errorf("value %q for parameter \"stats\" is deprecated and will be rejected in the next major release, use %q or %q", s, "true", "all"))
}

// parse reads an expression of bearable size.
func (h *Handler) parse(query string) (parser.Expr, error) {
	if err := exprsize.Check(query); err != nil {
		return nil, err
	}
	return h.parser.ParseExpr(query)
}

func (h *Handler) formatQuery(r *http.Request) (*result, error) {
	expr, err := h.parse(r.Form.Get("query"))
	if err != nil {
		return nil, badParam("query", err)
	}
	return &result{data: expr.Pretty(0)}, nil
}
