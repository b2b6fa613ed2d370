package store

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/index"
	"pgregory.net/rapid"

	"github.com/varve-tsdb/varve/internal/blocktest"
	"github.com/varve-tsdb/varve/objstore/objstoretest"
)

// drawSeries draws label sets with few names and values, so that matchers hit.
func drawSeries(t *rapid.T) []blocktest.Series {
	sets := rapid.MapOfN(rapid.SampledFrom([]string{"a", "b", "c", "d"}), rapid.SampledFrom([]string{"1", "2", "3", "x", "xy", "é"}), 0, 4)
	seen := map[string]bool{}
	var all []blocktest.Series
	for i, m := range rapid.SliceOfN(sets, 1, 60).Draw(t, "series") {
		m["i"] = fmt.Sprint(i % 40)
		ls := labels.FromMap(m)
		if !seen[ls.String()] {
			seen[ls.String()] = true
			all = append(all, blocktest.Series{Labels: ls, Samples: blocktest.Floats(0, 20, 10, 0)})
		}
	}
	return all
}

func drawMatcher(t *rapid.T) *labels.Matcher {
	name := rapid.SampledFrom([]string{"a", "b", "c", "i", "nope"}).Draw(t, "name")
	switch typ := rapid.SampledFrom([]labels.MatchType{labels.MatchEqual, labels.MatchNotEqual, labels.MatchRegexp, labels.MatchNotRegexp}).Draw(t, "type"); typ {
	case labels.MatchEqual, labels.MatchNotEqual:
		return labels.MustNewMatcher(typ, name, rapid.SampledFrom([]string{"", "1", "2", "xy", "zzz"}).Draw(t, "value"))
	default:
		return labels.MustNewMatcher(typ, name, rapid.SampledFrom([]string{
			"", ".*", ".+", "1", "1|2", "1|", "|", "x.*", ".*y", "x|xy|nope", "(1|2|3)", "[^1]", "2?", "(?i:X)", "[12]", ".", "..", "1|1",
		}).Draw(t, "regexp"))
	}
}

// TestPostingsAgreeWithPrometheus compares with what tsdb makes of the same
// index.
func TestPostingsAgreeWithPrometheus(t *testing.T) {
	for seed := range 8 {
		dir := t.TempDir()
		bkt := objstoretest.NewMemory()
		id := blocktest.Write(t, dir, blocktest.Block{
			External: labels.FromStrings("e", "1"), Series: rapid.Custom(drawSeries).Example(seed),
		})
		blocktest.Upload(t, bkt, dir, id)
		oracle, err := tsdb.OpenBlock(nil, filepath.Join(dir, id.String()), nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		ix, err := oracle.Index()
		if err != nil {
			t.Fatal(err)
		}
		reader := &blockReader{block: pinned(t, open(t, bkt, Options{}), id)}
		rapid.Check(t, func(rt *rapid.T) {
			matchers := rapid.SliceOfN(rapid.Custom(drawMatcher), 1, 4).Draw(rt, "matchers")
			p, err := tsdb.PostingsForMatchers(t.Context(), ix, slices.Clone(matchers)...)
			if err != nil {
				rt.Fatal(err)
			}
			want, err := index.ExpandPostings(p)
			if err != nil {
				rt.Fatal(err)
			}
			got, err := reader.postings(t.Context(), matchers, nil)
			if err != nil {
				rt.Fatalf("%v: %v", matchers, err)
			}
			if !slices.EqualFunc(got, want, func(a seriesRef, b storage.SeriesRef) bool { return storage.SeriesRef(a) == b }) {
				rt.Errorf("%v: %v, Prometheus has %v", matchers, got, want)
			}
			// As if looking at series cost so little, or so much.
			costs := planCosts{look: rapid.Int64Range(1, 50).Draw(rt, "cost of a series")}
			header, err := reader.header(t.Context())
			if err != nil {
				rt.Fatal(err)
			}
			plan, err := planPostings(header, matchers, costs, nil)
			if err != nil {
				rt.Fatalf("%v: %v", matchers, err)
			}
			refs, err := reader.planned(t.Context(), header, plan, nil)
			if err != nil {
				rt.Fatalf("%v: %v", matchers, err)
			}
			refs = slices.DeleteFunc(refs, func(ref seriesRef) bool {
				var ls labels.ScratchBuilder
				if err := ix.Series(storage.SeriesRef(ref), &ls, nil); err != nil {
					rt.Fatal(err)
				}
				return !matches(plan.postponed, ls.Labels())
			})
			if !slices.EqualFunc(refs, want, func(a seriesRef, b storage.SeriesRef) bool { return storage.SeriesRef(a) == b }) {
				rt.Errorf("%v, with %v postponed: %v, Prometheus has %v", matchers, plan.postponed, refs, want)
			}
			whole := selection{mint: reader.block.minTime, maxt: reader.block.maxTime}
			if least := reader.block.least(header, plan, whole, nil).once.series; least > int64(len(want)) {
				rt.Errorf("%v, with %v postponed: %d series match, and it claims %d at least", matchers, plan.postponed, len(want), least)
			}
		})
		reader.block.release()
		ix.Close()
		oracle.Close()
	}
}

// pinned returns an open block with a reference.
func pinned(t *testing.T, b *Bucket, id ulid.ULID) *openBlock {
	t.Helper()
	for _, s := range b.set.streams {
		for _, block := range s.blocks {
			if block.id == id {
				block.retain()
				return block
			}
		}
	}
	t.Fatalf("block %s is not open", id)
	return nil
}

func TestNoMatchersMeanAllSeries(t *testing.T) {
	bkt := objstoretest.NewMemory()
	id := blocktest.Put(t, bkt, blocktest.Block{Series: []blocktest.Series{
		{Labels: labels.FromStrings("a", "1"), Samples: blocktest.Floats(0, 20, 10, 0)},
		{Labels: labels.FromStrings("a", "2"), Samples: blocktest.Floats(0, 20, 10, 0)},
	}})
	reader := &blockReader{block: pinned(t, open(t, bkt, Options{}), id)}
	defer reader.block.release()
	for _, matchers := range [][]*labels.Matcher{nil, {labels.MustNewMatcher(labels.MatchEqual, "", "")}} {
		if refs, err := reader.postings(t.Context(), matchers, nil); err != nil || len(refs) != 2 {
			t.Errorf("%v: %d series, %v", matchers, len(refs), err)
		}
	}
}

func TestCheckRefsRefusesWhatIsNoSeries(t *testing.T) {
	b := objstoretest.NewMemory()
	id := blocktest.Put(t, b, blocktest.Block{Series: []blocktest.Series{{Labels: labels.FromStrings("a", "1"), Samples: blocktest.Floats(0, 20, 10, 0)}}})
	reader := &blockReader{block: pinned(t, open(t, b, Options{}), id)}
	defer reader.block.release()
	header, err := reader.header(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	good, err := reader.postings(t.Context(), nil, nil)
	if err != nil || checkRefs(good, header.Series()) != nil {
		t.Fatalf("the references of the block are refused: %v", err)
	}
	for _, refs := range [][]seriesRef{{0}, {good[0], good[0]}, {1 << 31}, {good[0], 1}} {
		if checkRefs(refs, header.Series()) == nil {
			t.Errorf("%v were accepted", refs)
		}
	}
}
