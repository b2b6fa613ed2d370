package query

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/timestamp"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/annotations"

	"github.com/varve-tsdb/varve/internal/readcost"
)

// labelsRequest is a question about labels: at most limit of them, from the
// series that one of sets matches.
type labelsRequest struct {
	querier storage.ChunkQuerier
	limit   int
	sets    [][]*labels.Matcher // nil for all series
}

// openLabels reads the parameters that such questions share and opens a querier.
// badMatch words the error about a selector.
func (h *Handler) openLabels(r *http.Request, badMatch func(error) error) (*labelsRequest, error) {
	limit, err := h.limitParam(r)
	if err != nil {
		return nil, err
	}
	start, end, err := rangeParams(r)
	if err != nil {
		return nil, err
	}
	sets, err := h.matchParam(r)
	if err != nil {
		return nil, badMatch(err)
	}
	q, err := h.source.ChunkQuerier(timestamp.FromTime(start), timestamp.FromTime(end))
	if err != nil {
		return nil, err
	}
	return &labelsRequest{querier: q, limit: limit, sets: sets}, nil
}

func badData(err error) error { return &apiError{errorBadData, err} }

type stringsCall func(context.Context, *storage.LabelHints, ...*labels.Matcher) ([]string, annotations.Annotations, error)

// strings asks once for each set of matchers and unites the answers. The
// querier is closed with the result, since it owns the strings.
func (l *labelsRequest) strings(ctx context.Context, call stringsCall) (*result, error) {
	var (
		hints    = &storage.LabelHints{Limit: oneMore(l.limit)}
		all      = []string{}
		warnings annotations.Annotations
		sets     = l.sets
	)
	if len(sets) == 0 {
		sets = [][]*labels.Matcher{nil}
	}
	for _, set := range sets {
		list, ws, err := call(ctx, hints, set...)
		warnings.Merge(ws)
		if err != nil {
			l.querier.Close()
			return nil, err
		}
		all = append(all, list...)
	}
	slices.Sort(all)
	all = slices.Compact(all)
	if l.limit > 0 && len(all) > l.limit {
		all = all[:l.limit]
		warnings.Add(errTruncated)
	}
	return &result{data: all, warnings: warnings, close: func() { l.querier.Close() }}, nil
}

func (h *Handler) labelNames(r *http.Request) (*result, error) {
	req, err := h.openLabels(r, badData)
	if err != nil {
		return nil, err
	}
	return req.strings(asStored(r.Context()), req.querier.LabelNames)
}

// labelValues answers for the label whose name is escaped as in a path.
func (h *Handler) labelValues(r *http.Request, escaped string) (*result, error) {
	name, err := url.PathUnescape(escaped)
	if err != nil {
		return nil, &apiError{errorBadData, fmt.Errorf("invalid label name: %w", err)}
	}
	if strings.HasPrefix(name, "U__") {
		name = model.UnescapeName(name, model.ValueEncodingEscaping)
	}
	if !model.UTF8Validation.IsValidLabelName(name) {
		return nil, &apiError{errorBadData, fmt.Errorf("invalid label name: %q", name)}
	}
	req, err := h.openLabels(r, badData)
	if err != nil {
		return nil, err
	}
	return req.strings(asStored(r.Context()),
		func(ctx context.Context, hints *storage.LabelHints, matchers ...*labels.Matcher) ([]string, annotations.Annotations, error) {
			return req.querier.LabelValues(ctx, name, hints, matchers...)
		})
}

func (h *Handler) series(r *http.Request) (*result, error) {
	if len(r.Form["match[]"]) == 0 {
		return nil, &apiError{errorBadData, errors.New("no match[] parameter provided")}
	}
	req, err := h.openLabels(r, func(err error) error { return badParam("match[]", err) })
	if err != nil {
		return nil, err
	}
	start, end, err := rangeParams(r)
	if err != nil {
		return nil, err
	}
	res, err := req.series(anyResolution(r.Context()), timestamp.FromTime(start), timestamp.FromTime(end))
	if err != nil {
		req.querier.Close()
		return nil, err
	}
	return res, nil
}

// labelsMemory is what the labels of a series take in an answer besides their
// bytes.
const labelsMemory = 64

func (l *labelsRequest) series(ctx context.Context, start, end int64) (*result, error) {
	hints := &storage.SelectHints{Start: start, End: end, Func: "series", Limit: oneMore(l.limit)}
	cost := readcost.From(ctx)
	cost.Keep()
	kept := readcost.Hoard{Cost: cost}
	sets := make([]storage.ChunkSeriesSet, 0, len(l.sets))
	for _, matchers := range l.sets {
		sets = append(sets, l.querier.Select(ctx, true, hints, matchers...))
	}
	set := storage.NewMergeChunkSeriesSet(sets, 0, storage.NewConcatenatingChunkSeriesMerger())
	found := []labels.Labels{}
	truncated := false
	for set.Next() {
		if len(found)%128 == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if truncated = l.limit > 0 && len(found) == l.limit; truncated {
			break
		}
		one := set.At().Labels()
		if err := cmp.Or(kept.Keep(labelsMemory+int64(one.ByteSize())), cost.Returned(1, 0, 0)); err != nil {
			return nil, err
		}
		found = append(found, one)
	}
	if err := set.Err(); err != nil {
		return nil, err
	}
	warnings := set.Warnings()
	if truncated {
		warnings.Add(errTruncated)
	}
	return &result{data: found, warnings: warnings, close: func() { l.querier.Close() }}, nil
}
