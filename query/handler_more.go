package query

import (
	"cmp"
	"errors"
	"maps"
	"net/http"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"

	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/model/timestamp"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/annotations"

	"github.com/varve-tsdb/varve/internal/readopts"
)

func (h *Handler) exemplars(r *http.Request) (*result, error) {
	start, end, err := rangeParams(r)
	if err != nil {
		return nil, err
	}
	if end.Before(start) {
		return nil, &apiError{errorBadData, errors.New("end timestamp must not be before start timestamp")}
	}
	expr, err := h.parse(r.Form.Get("query"))
	if err != nil {
		return nil, &apiError{errorBadData, err}
	}
	selectors := parser.ExtractSelectors(expr)
	if len(selectors) == 0 {
		return &result{}, nil
	}
	source, ok := h.source.(storage.ExemplarQueryable)
	if !ok {
		return &result{data: []exemplar.QueryResult{}}, nil
	}
	q, err := source.ExemplarQuerier(r.Context())
	if err != nil {
		return nil, err
	}
	found, err := q.Select(timestamp.FromTime(start), timestamp.FromTime(end), selectors...)
	if err != nil {
		return nil, err
	}
	res := &result{data: found}
	if w, ok := q.(interface {
		Warnings() annotations.Annotations
	}); ok {
		res.warnings = w.Warnings()
	}
	return res, nil
}

func (h *Handler) metadata(r *http.Request) (*result, error) {
	limit, err := countParam(r, "limit")
	if err != nil {
		return nil, err
	}
	perMetric, err := countParam(r, "limit_per_metric")
	if err != nil {
		return nil, err
	}
	source, ok := h.source.(metadataSource)
	if !ok || limit == 0 {
		return &result{data: map[string][]metadata.Metadata{}}, nil
	}
	found, err := source.MetricMetadata(r.Context(), r.Form.Get("metric"), max(limit, 0))
	var warnings annotations.Annotations
	if err != nil {
		if found == nil || !readopts.From(r.Context()).Partial {
			return nil, err
		}
		warnings.Add(err)
	}
	return &result{data: cutMetadata(found, limit, perMetric), warnings: warnings}, nil
}

// cutMetadata returns a copy with at most limit metrics, in order of names, and
// perMetric entries of each; less than one means all.
func cutMetadata(all map[string][]metadata.Metadata, limit, perMetric int) map[string][]metadata.Metadata {
	cut := make(map[string][]metadata.Metadata, len(all))
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if limit > 0 && len(cut) == limit {
			break
		}
		list := all[name]
		if perMetric > 0 && len(list) > perMetric {
			list = list[:perMetric]
		}
		cut[name] = list
	}
	return cut
}

// countParam returns a number, or -1 if there is none.
func countParam(r *http.Request, name string) (int, error) {
	s := r.Form.Get(name)
	if s == "" {
		return -1, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		return 0, &apiError{errorBadData, errors.New(name + " must be a number")}
	}
	return n, nil
}

// BuildInfo is what status/buildinfo says about the program. Grafana takes from
// the version what the server can do.
type BuildInfo struct {
	// Version of the program. Default: what the Go tool knows of it.
	Version string `json:"version"`
	// Revision is the commit. Default: what the Go tool knows of it.
	Revision  string `json:"revision"`
	Branch    string `json:"branch"`
	BuildUser string `json:"buildUser"`
	BuildDate string `json:"buildDate"`
	// GoVersion defaults to that of the running program.
	GoVersion string `json:"goVersion"`
}

func (b BuildInfo) withDefaults() BuildInfo {
	if info, ok := debug.ReadBuildInfo(); ok {
		b.Version = cmp.Or(b.Version, info.Main.Version)
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				b.Revision = cmp.Or(b.Revision, s.Value)
			}
		}
	}
	b.GoVersion = cmp.Or(b.GoVersion, runtime.Version())
	return b
}

func (h *Handler) buildInfo(*http.Request) (*result, error) {
	return &result{data: h.opts.Build}, nil
}
