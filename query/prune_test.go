package query

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
)

// matchersOf parses a selector.
func matchersOf(t testing.TB, selector string) []*labels.Matcher {
	t.Helper()
	ms, err := parser.NewParser(parser.Options{}).ParseMetricSelector(selector)
	if err != nil {
		t.Fatal(err)
	}
	return ms
}

func TestPrune(t *testing.T) {
	held := []stream{
		{labels.FromStrings("cluster", "eu", "replica", "1"), 0, 100},
		{labels.FromStrings("cluster", "eu", "replica", "2"), 50, 150},
		{labels.FromStrings("cluster", "us"), 200, math.MaxInt64},
		{labels.EmptyLabels(), 0, 300},
	}
	for _, c := range []struct {
		selector   string
		mint, maxt int64
		want       string // replicas or clusters of the streams, - for the one without
	}{
		{`{a="b"}`, math.MinInt64, math.MaxInt64, "1 2 us -"},
		{`{a="b"}`, 100, 100, "1 2 -"},
		{`{a="b"}`, 101, 149, "2 -"},
		{`{a="b"}`, 151, 199, "-"},
		{`{a="b"}`, 301, 301, "us"},
		{`{a="b"}`, -10, -1, ""},
		{`{a="b"}`, 100, 50, ""},
		{`{cluster="eu"}`, 0, 1000, "1 2 -"},
		{`{cluster="eu",replica="2"}`, 0, 1000, "2 -"},
		{`{cluster=~"u.*"}`, 0, 1000, "us -"},
		{`{cluster!="eu",x="y"}`, 0, 1000, "us -"},
		{`{cluster="",x="y"}`, 0, 1000, "-"},
		{`{cluster=~".+"}`, 0, 1000, "1 2 us -"},
		{`{replica="",cluster=~".+"}`, 0, 1000, "us -"},
		{`{replica="7"}`, 0, 1000, "us -"}, // a series may have the label itself
		{`{cluster="eu",cluster="us"}`, 0, 1000, "-"},
	} {
		var got []string
		for _, s := range prune(held, c.mint, c.maxt, matchersOf(t, c.selector)) {
			name := s.external.Get("replica") + s.external.Get("cluster")
			name = strings.TrimSuffix(name, "eu")
			if name == "" {
				name = "-"
			}
			got = append(got, name)
		}
		if diff := cmp.Diff(c.want, strings.Join(got, " ")); diff != "" {
			t.Errorf("%s in [%d, %d] (-want +got)\n%s", c.selector, c.mint, c.maxt, diff)
		}
	}
}

func TestStreamsOfManySources(t *testing.T) {
	eu, us := labels.FromStrings("c", "eu"), labels.FromStrings("c", "us")
	f := NewFanout(nil, FanoutOptions{})
	show := func() string {
		var all []string
		f.Streams(func(ext labels.Labels, mint, maxt int64) bool {
			all = append(all, fmt.Sprint(ext, mint, maxt))
			return true
		})
		return strings.Join(all, "; ")
	}
	if got := show(); got != "" {
		t.Errorf("no source: %s", got)
	}
	f.SetSources(sources(listing{{eu, 10, 20}, {us, 5, 6}}, listing{{eu, 1, 11}}, listing{}))
	if got, want := show(), `{c="eu"} 1 20; {c="us"} 5 6`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	f.SetSources(sources[storage.ChunkQueryable](listing{{eu, 10, 20}}, plain{listing{}}))
	if got, want := show(), fmt.Sprintf(`{} %d %d; {c="eu"} 10 20`, math.MinInt64, math.MaxInt64); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestSourceErrorText(t *testing.T) {
	missing := []MissingStream{{labels.FromStrings("c", "eu"), time.UnixMilli(0), time.UnixMilli(1500)}}
	for want, e := range map[string]*SourceError{
		"source bucket: gone": {Source: "bucket", Err: errors.New("gone")},
		`source bucket: gone; missing {c="eu"} from 1970-01-01T00:00:00Z to 1970-01-01T00:00:01.5Z`: {Source: "bucket", Err: errors.New("gone"), Missing: missing},
		`source b: gone; missing {} from the beginning to now`: {
			Source: "b", Err: errors.New("gone"),
			Missing: []MissingStream{{From: time.UnixMilli(math.MinInt64), To: time.UnixMilli(math.MaxInt64)}},
		},
	} {
		if diff := cmp.Diff(want, e.Error()); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	}
	many := &SourceError{Source: "b", Err: errors.New("gone"), Missing: make([]MissingStream, 9)}
	if !strings.HasSuffix(many.Error(), " and 4 more streams") {
		t.Error(many)
	}
}
