package dedup

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
)

type unknownChunk struct{ chunkenc.Chunk }

func (unknownChunk) Encoding() chunkenc.Encoding { return 0xff }

func TestMergeErrors(t *testing.T) {
	good := encode(t, line(0, 15, 240), 120)
	short := chunkenc.NewXORChunk()
	short.Reset([]byte{0})
	cut := chunkenc.NewXORChunk()
	cut.Reset(good[0].Chunk.Bytes()[:50])
	source := errors.New("source failed")
	lset := labels.FromStrings(model.MetricNameLabel, "x", "job", "broken")
	for _, tc := range []struct {
		name   string
		series storage.ChunkSeries
		want   error
	}{
		{"no chunk", seriesOf(lset, chunks.Meta{MinTime: 1, MaxTime: 2}), ErrCorrupt},
		{"too short", seriesOf(lset, chunks.Meta{Chunk: short, MinTime: 1, MaxTime: 2}), ErrCorrupt},
		{"ends before it begins", seriesOf(lset, chunks.Meta{Chunk: good[0].Chunk, MinTime: 2, MaxTime: 1}), ErrCorrupt},
		{"unknown encoding", seriesOf(lset, chunks.Meta{Chunk: unknownChunk{good[0].Chunk}, MinTime: 1, MaxTime: 2}), ErrEncoding},
		{"order", seriesOf(lset, good[1], good[0]), ErrChunkOrder},
		{"cut off", seriesOf(lset, chunks.Meta{Chunk: cut, MinTime: good[0].MinTime, MaxTime: good[0].MaxTime}), nil},
		{"source", &storage.ChunkSeriesEntry{Lset: lset, ChunkIteratorFn: func(chunks.Iterator) chunks.Iterator {
			return failing{source}
		}}, source},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := readPoints(Merge(tc.series, replica(t, line(7, 15, 240))))
			if err == nil || tc.want != nil && !errors.Is(err, tc.want) {
				t.Fatalf("got error %v, want %v", err, tc.want)
			}
			if want := lset.String(); !strings.Contains(err.Error(), want) {
				t.Errorf("error %q does not name the series %s", err, want)
			}
		})
	}
}

type failing struct{ err error }

func (failing) Next() bool      { return false }
func (failing) At() chunks.Meta { return chunks.Meta{} }
func (f failing) Err() error    { return f.err }

func TestMergeOfNoneAndOne(t *testing.T) {
	if got := Merge(); got != nil {
		t.Errorf("got %v for no series", got)
	}
	one := replica(t, line(0, 15, 5))
	if got := Merge(one); got != one {
		t.Errorf("got %v for one series", fmt.Sprint(got))
	}
}
