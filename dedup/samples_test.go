package dedup

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"pgregory.net/rapid"
)

// Samples are there for every range, by Next and by Seek, as they are in chunks.
func TestPropertySamplesBySeek(t *testing.T) {
	var it chunkenc.Iterator // reused
	property(t, func(draw *rapid.T) {
		s := drawScenario(draw, scenarioOptions{replicas: 3, resets: 1, gaps: 3, mixed: true, histograms: rapid.Bool().Draw(draw, "histograms")})
		var all []storage.ChunkSeries
		for i, points := range s.points {
			if i > 0 && rapid.IntRange(0, 5).Draw(draw, "copy") == 0 {
				points = s.points[0]
			}
			all = append(all, replica(t, points))
		}
		series := Merge(all...).(*mergedSeries)
		whole, err := readChunkPoints(series)
		if err != nil {
			draw.Fatal(err)
		}
		times := rapid.Int64Range(-s.interval, s.length+s.interval)
		mint, maxt := times.Draw(draw, "mint"), times.Draw(draw, "maxt")
		want := within(whole, mint, maxt)
		samples, err := series.Samples(mint, maxt)
		if err != nil {
			draw.Fatal(err)
		}
		it = samples.Iterator(it)
		for at := -1; at < len(want); {
			var typ chunkenc.ValueType
			if rapid.IntRange(0, 2).Draw(draw, "seek") == 0 {
				to := times.Draw(draw, "to")
				typ = it.Seek(to)
				at = max(at, 0)
				for at < len(want) && want[at].t < to {
					at++
				}
			} else {
				typ = it.Next()
				at++
			}
			if (typ == chunkenc.ValNone) != (at >= len(want)) {
				draw.Fatalf("at sample %d of %d: type %v, error %v", at, len(want), typ, it.Err())
			}
			if typ != chunkenc.ValNone && (it.AtT() != want[at].t || !samePoint(pointAt(it, typ), want[at])) {
				draw.Fatalf("got %v, want %v", pointAt(it, typ), want[at])
			}
		}
		if it.Next() != chunkenc.ValNone || it.Err() != nil {
			draw.Fatalf("goes on, or fails: %v", it.Err())
		}
	})
}

// The engine may read a series for several selectors at once.
func TestSamplesSideBySide(t *testing.T) {
	a, b := line(0, 15, 1000), line(7, 15, 1000)
	series := Merge(replica(t, slices.Concat(a[:300], a[320:])), replica(t, b)).(*mergedSeries)
	want, err := readChunkPoints(series)
	if err != nil {
		t.Fatal(err)
	}
	samples, err := series.Samples(0, 1<<60)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			var got []point
			for it := samples.Iterator(nil); it.Next() != chunkenc.ValNone; {
				got = append(got, pointAt(it, chunkenc.ValFloat))
			}
			if err := samePoints(got, want); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func TestSamplesErrors(t *testing.T) {
	lset := labels.FromStrings("__name__", "x", "job", "broken")
	good := encode(t, line(0, 15, 240), 120)
	cut := chunkenc.NewXORChunk()
	cut.Reset(good[1].Chunk.Bytes()[:50])
	source := errors.New("source failed")
	broken := seriesOf(lset, good[0], chunks.Meta{Chunk: cut, MinTime: good[1].MinTime, MaxTime: good[1].MaxTime})
	for _, tc := range []struct {
		name   string
		series storage.ChunkSeries
		other  storage.ChunkSeries
	}{
		{"merged", broken, replica(t, line(7, 15, 240))},
		{"copies", broken, broken},
		{"source", &storage.ChunkSeriesEntry{Lset: lset, ChunkIteratorFn: func(chunks.Iterator) chunks.Iterator { return failing{source} }}, broken},
	} {
		t.Run(tc.name, func(t *testing.T) {
			n := 0
			samples, err := Merge(tc.series, tc.other).(*mergedSeries).Samples(0, 1<<60)
			if err == nil {
				it := samples.Iterator(nil)
				for it.Next() != chunkenc.ValNone {
					n++
				}
				err = it.Err()
			}
			if err == nil || !strings.Contains(err.Error(), lset.String()) {
				t.Errorf("error %v does not name the series", err)
			}
			if tc.name == "source" != errors.Is(err, source) || tc.name != "source" && n < 120 {
				t.Error(fmt.Sprint(n, " samples, error ", err))
			}
		})
	}
}
