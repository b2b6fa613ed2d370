package querytest

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/grafana/regexp"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"pgregory.net/rapid"
)

// question is one Select and the querier it goes to.
type question struct {
	mint, maxt int64 // inclusive
	hints      *storage.SelectHints
	matchers   []*labels.Matcher
}

func (q question) String() string {
	var ms []string
	for _, m := range q.matchers {
		ms = append(ms, m.String())
	}
	hints := "none"
	if q.hints != nil {
		hints = fmt.Sprintf("[%d, %d] func=%q limit=%d", q.hints.Start, q.hints.End, q.hints.Func, q.hints.Limit)
	}
	return fmt.Sprintf("{%s} in [%d, %d], hints %s", strings.Join(ms, ","), q.mint, q.maxt, hints)
}

// narrowed is the inclusive range that must be answered in full.
func (q question) narrowed() (mint, maxt int64) {
	if q.hints == nil {
		return q.mint, q.maxt
	}
	return max(q.mint, q.hints.Start), min(q.maxt, q.hints.End)
}

func (q question) whole() bool { return q.mint <= Start && q.maxt >= End && q.hints == nil }

// prepare collects the series, and the label names and values to draw matchers
// from, with some that are nowhere in the data.
func (s *suite) prepare() {
	values := map[string]map[string]bool{"missing": {"x": true}, "__name__": {"missing": true}, "job": {"missing": true}}
	for _, stream := range s.data.Streams {
		for _, series := range stream.Series {
			full := stream.Labels(series)
			s.all = append(s.all, expected{labels: full, full: full, id: full.String(), samples: series.Samples})
			full.Range(func(l labels.Label) {
				if values[l.Name] == nil {
					values[l.Name] = map[string]bool{}
				}
				values[l.Name][l.Value] = true
			})
		}
	}
	slices.SortFunc(s.all, func(a, b expected) int { return labels.Compare(a.full, b.full) })
	s.values = map[string][]string{}
	for name, set := range values {
		s.values[name] = slices.Sorted(maps.Keys(set))
	}
	s.names = slices.Sorted(maps.Keys(values))
}

func (s *suite) drawQuestion(draw *rapid.T) question {
	q := question{matchers: s.drawMatchers(draw)}
	q.mint, q.maxt = s.drawRange(draw, "range")
	switch rapid.IntRange(0, 4).Draw(draw, "hints") {
	case 1: // as the engine passes them: within the range or equal to it
		q.hints = &storage.SelectHints{Start: q.mint, End: q.maxt, Step: minute, Range: 5 * minute, Func: "rate"}
	case 2: // narrower, or reaching over one end
		q.hints = &storage.SelectHints{}
		q.hints.Start, q.hints.End = s.drawRange(draw, "narrow")
	case 3: // wider
		q.hints = &storage.SelectHints{Start: q.mint - hour, End: q.maxt + hour}
		if q.mint < math.MinInt64+hour {
			q.hints.Start = q.mint
		}
		if q.maxt > math.MaxInt64-hour {
			q.hints.End = q.maxt
		}
	case 4:
		q.hints = &storage.SelectHints{Start: q.mint, End: q.maxt, Func: "series"}
	}
	return q
}

// drawRange draws the inclusive bounds of a range: everything there is, before
// or after all data, or somewhere in it, often exactly at a sample.
func (s *suite) drawRange(draw *rapid.T, name string) (mint, maxt int64) {
	switch rapid.IntRange(0, 7).Draw(draw, name) {
	case 0:
		return math.MinInt64, math.MaxInt64
	case 1:
		return Start - 10*hour, Start - 1
	case 2:
		return End, End + 10*hour
	case 3:
		return Start, Start // only the first samples, by both inclusive bounds
	case 4:
		return Start, End
	case 5:
		t := s.drawTime(draw, name+" at")
		return t, t
	default:
		a, b := s.drawTime(draw, name+" from"), s.drawTime(draw, name+" to")
		return min(a, b), max(a, b)
	}
}

// drawTime draws the time of a sample or of the millisecond beside it, or any.
func (s *suite) drawTime(draw *rapid.T, name string) int64 {
	var lists [][]Sample
	for _, stream := range s.data.Streams {
		for _, series := range stream.Series {
			lists = append(lists, series.Samples)
		}
	}
	if len(lists) == 0 || rapid.Bool().Draw(draw, name+" free") {
		return rapid.Int64Range(Start-hour, End+hour).Draw(draw, name)
	}
	list := rapid.SampledFrom(lists).Draw(draw, name+" series")
	return list[rapid.IntRange(0, len(list)-1).Draw(draw, name+" sample")].T + rapid.Int64Range(-1, 1).Draw(draw, name+" beside")
}

func (s *suite) drawMatchers(draw *rapid.T) []*labels.Matcher {
	n := rapid.IntRange(1, 3).Draw(draw, "matchers")
	matchers := make([]*labels.Matcher, 0, n)
	for range n {
		matchers = append(matchers, s.drawMatcher(draw))
	}
	return matchers
}

// drawMatcher draws one of any type, for a label that is there, missing from
// some series, external, or nowhere; and often one that accepts no label.
func (s *suite) drawMatcher(draw *rapid.T) *labels.Matcher {
	name := rapid.SampledFrom(s.names).Draw(draw, "name")
	typ := rapid.SampledFrom([]labels.MatchType{labels.MatchEqual, labels.MatchNotEqual, labels.MatchRegexp, labels.MatchNotRegexp}).Draw(draw, "type")
	value := rapid.SampledFrom(append([]string{""}, s.values[name]...)).Draw(draw, "value")
	if typ == labels.MatchRegexp || typ == labels.MatchNotRegexp {
		quoted := regexp.QuoteMeta(value)
		other := regexp.QuoteMeta(rapid.SampledFrom(s.values[name]).Draw(draw, "other"))
		value = rapid.SampledFrom([]string{
			quoted, ".*", ".+", "", quoted + "|" + other, other + "|", quoted + ".*", ".*" + quoted, "(?i:" + quoted + ")", "[^a]+", "nothing.+",
		}).Draw(draw, "regexp")
	}
	return labels.MustNewMatcher(typ, name, value)
}
