package query

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"

	"github.com/varve-tsdb/varve/internal/readopts"
)

// The times that stand for no bound. Old clients send them printed.
var (
	minTime = time.Unix(math.MinInt64/1000+62135596801, 0).UTC()
	maxTime = time.Unix(math.MaxInt64/1000-62135596801, 999999999).UTC()
)

// parseRequest reads the form and the options of the read, which go in the
// context.
func (h *Handler) parseRequest(w http.ResponseWriter, r *http.Request) (context.Context, error) {
	if coding := r.Header.Get("Content-Encoding"); r.Method == http.MethodPost && coding != "" && !strings.EqualFold(coding, "identity") {
		w.Header().Set("Accept-Encoding", "identity")
		return nil, &apiError{errorMedia, fmt.Errorf("the form is encoded as %q: send it as it is, without Content-Encoding", coding)}
	}
	r.Body = http.MaxBytesReader(w, r.Body, 10<<20)
	if err := r.ParseForm(); err != nil {
		return nil, &apiError{errorBadData, fmt.Errorf("error parsing form values: %w", err)}
	}
	if err := r.ParseMultipartForm(1 << 20); err != nil && !errors.Is(err, http.ErrNotMultipart) {
		return nil, &apiError{errorBadData, fmt.Errorf("error parsing form values: %w", err)}
	}
	opts := readopts.From(r.Context())
	opts.Partial = opts.Partial || h.opts.PartialResponse
	var err error
	if opts.Partial, err = boolParam(r, "partial_response", opts.Partial); err != nil {
		return nil, err
	}
	dedup, err := boolParam(r, "dedup", !opts.NoDedup)
	if err != nil {
		return nil, err
	}
	opts.NoDedup = !dedup
	if replicas := r.Form["replicaLabels[]"]; len(replicas) > 0 {
		opts.ReplicaLabels = replicas
	}
	if err := unsupported(r); err != nil {
		return nil, err
	}
	return readopts.With(r.Context(), opts), nil
}

// boolParam returns a truth value, or otherwise if there is none.
func boolParam(r *http.Request, name string, otherwise bool) (bool, error) {
	s := r.Form.Get(name)
	if s == "" {
		return otherwise, nil
	}
	value, err := strconv.ParseBool(s)
	if err != nil {
		return false, badParam(name, fmt.Errorf("%q is neither true nor false", s))
	}
	return value, nil
}

// unsupported refuses parameters of Thanos that would change the answer but are
// not known here: to ignore them would give a wrong one.
func unsupported(r *http.Request) error {
	for _, name := range []string{"storeMatch[]", "shard_info"} {
		if s := r.Form.Get(name); s != "" && s != "null" {
			return badParam(name, errors.New("not supported"))
		}
	}
	switch s := r.Form.Get("engine"); s {
	case "", "prometheus", "thanos": // only a wish; the answer is the same
		return nil
	default:
		return badParam("engine", fmt.Errorf("no engine %q", s))
	}
}

// withResolution puts the coarsest resolution that the request accepts in the
// context; auto is what it gets for "auto".
func (h *Handler) withResolution(r *http.Request, auto time.Duration) (context.Context, error) {
	opts := readopts.From(r.Context())
	switch s := r.Form.Get("max_source_resolution"); {
	case s == "auto":
		opts.MaxResolution = auto
	case s == "" && h.opts.AutoDownsampling:
		opts.MaxResolution = max(opts.MaxResolution, auto)
	case s == "":
		return r.Context(), nil
	default:
		d, err := parseDuration(s)
		if err == nil && d < 0 {
			err = errors.New("negative resolution")
		}
		if err != nil {
			return nil, badParam("max_source_resolution", err)
		}
		opts.MaxResolution = d
	}
	return readopts.With(r.Context(), opts), nil
}

// anyResolution is for questions about labels, which downsampled data answers
// as well as raw.
func anyResolution(ctx context.Context) context.Context {
	opts := readopts.From(ctx)
	opts.MaxResolution = math.MaxInt64
	return readopts.With(ctx, opts)
}

// asStored is for the names and values of labels: those of replicas are among
// them, since a selector may use them. It leaves the choice of replica labels to
// questions that merge series.
func asStored(ctx context.Context) context.Context {
	opts := readopts.From(anyResolution(ctx))
	opts.NoDedup = true
	return readopts.With(ctx, opts)
}

// withTimeout applies the parameter timeout.
func withTimeout(ctx context.Context, r *http.Request) (context.Context, context.CancelFunc, error) {
	s := r.Form.Get("timeout")
	if s == "" {
		return ctx, func() {}, nil
	}
	timeout, err := parseDuration(s)
	if err != nil {
		return nil, nil, badParam("timeout", err)
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	return ctx, cancel, nil
}

// queryOpts are the options of a query whose read options are in ctx.
func (h *Handler) queryOpts(ctx context.Context, r *http.Request) (promql.QueryOpts, error) {
	lookback := resolutionLookback(h.opts.LookbackDelta, readopts.From(ctx).MaxResolution)
	if s := r.Form.Get("lookback_delta"); s != "" {
		var err error
		if lookback, err = parseDuration(s); err != nil {
			return nil, &apiError{errorBadData, fmt.Errorf("error parsing lookback delta duration: %w", err)}
		}
	}
	return promql.NewPrometheusQueryOpts(r.Form.Get("stats") == "all", lookback), nil
}

// resolutionLookback returns how far to look back where samples may be as far
// apart as the resolution: no less than Thanos does. Zero is the engine's choice.
func resolutionLookback(lookback, resolution time.Duration) time.Duration {
	switch {
	case resolution > 5*time.Minute:
		return max(lookback, time.Hour)
	case resolution > 0 && lookback > 0:
		return max(lookback, 5*time.Minute)
	}
	return lookback
}

// timeParam returns a time, or otherwise if there is none.
func timeParam(r *http.Request, name string, otherwise time.Time) (time.Time, error) {
	s := r.Form.Get(name)
	if s == "" {
		return otherwise, nil
	}
	t, err := parseTime(s)
	if err != nil {
		return time.Time{}, badParam(name, fmt.Errorf("invalid time value for '%s': %w", name, err))
	}
	return t, nil
}

// rangeParams returns start and end, by default all of time.
func rangeParams(r *http.Request) (start, end time.Time, err error) {
	if start, err = timeParam(r, "start", minTime); err != nil {
		return start, end, err
	}
	end, err = timeParam(r, "end", maxTime)
	return start, end, err
}

// limitParam returns the limit that holds for an answer, 0 for none.
func (h *Handler) limitParam(r *http.Request) (int, error) {
	limit := 0
	if s := r.Form.Get("limit"); s != "" {
		var err error
		if limit, err = strconv.Atoi(s); err != nil {
			return 0, badParam("limit", fmt.Errorf("%q is not a whole number, or too large a one", s))
		}
		if limit < 0 {
			return 0, badParam("limit", errors.New("limit must be non-negative"))
		}
	}
	if most := h.opts.MaxSeries; most > 0 && (limit == 0 || limit > most) {
		limit = most
	}
	return limit, nil
}

// oneMore is the limit to ask the storage for, so that it shows if there was
// more than limit.
func oneMore(limit int) int {
	if limit > 0 && limit < math.MaxInt {
		return limit + 1
	}
	return limit
}

// matchParam returns the selectors of match[].
func (h *Handler) matchParam(r *http.Request) ([][]*labels.Matcher, error) {
	sets, err := h.parser.ParseMetricSelectors(r.Form["match[]"])
	if err != nil {
		return nil, err
	}
	for _, set := range sets {
		selective := false
		for _, m := range set {
			selective = selective || m != nil && !m.Matches("")
		}
		if !selective {
			return nil, errors.New("match[] must contain at least one non-empty matcher")
		}
	}
	return sets, nil
}

// parseTime reads Unix seconds, RFC 3339, or the printed bounds of time. Seconds
// beyond what milliseconds can say are a mistake, most often another unit.
func parseTime(s string) (time.Time, error) {
	if f, err := strconv.ParseFloat(s, 64); err == nil && !math.IsNaN(f) {
		switch {
		case f*1000 < math.MinInt64, f*1000 >= math.MaxInt64:
			return time.Time{}, fmt.Errorf("cannot parse %q to a valid timestamp. Its milliseconds overflow int64", s)
		case f < float64(minTime.Unix()):
			return minTime, nil
		case f > float64(maxTime.Unix()):
			return maxTime, nil
		}
		sec, frac := math.Modf(f)
		frac = math.Round(frac*1000) / 1000
		return time.Unix(int64(sec), int64(frac*float64(time.Second))).UTC(), nil
	}
	if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
		return t, nil
	}
	switch s { // their years have more digits than time.Parse takes
	case minTime.Format(time.RFC3339Nano):
		return minTime, nil
	case maxTime.Format(time.RFC3339Nano):
		return maxTime, nil
	}
	return time.Time{}, fmt.Errorf("cannot parse %q to a valid timestamp", s)
}

// parseDuration reads seconds or a Prometheus duration.
func parseDuration(s string) (time.Duration, error) {
	if f, err := strconv.ParseFloat(s, 64); err == nil && !math.IsNaN(f) {
		d := f * float64(time.Second)
		if d >= float64(math.MaxInt64) || d <= float64(math.MinInt64) {
			return 0, fmt.Errorf("cannot parse %q to a valid duration. It overflows int64", s)
		}
		return time.Duration(d), nil
	}
	if d, err := model.ParseDuration(s); err == nil {
		return time.Duration(d), nil
	}
	return 0, fmt.Errorf("cannot parse %q to a valid duration", s)
}
