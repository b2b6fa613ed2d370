package store

import (
	"testing"
	"time"

	"github.com/prometheus/prometheus/storage"

	"github.com/varve-tsdb/varve/internal/blocktest"
	"github.com/varve-tsdb/varve/objstore/objstoretest"
	"github.com/varve-tsdb/varve/query/querytest"
)

// putData stores data as blocks of the given length.
func putData(t *testing.T, bkt *objstoretest.Memory, data querytest.Data, length time.Duration, change func(*blocktest.Block)) {
	t.Helper()
	step := length.Milliseconds()
	for mint := querytest.Start; mint <= querytest.End; mint += step {
		for _, stream := range data.Between(mint, mint+step-1).Streams {
			b := blocktest.Block{MinTime: mint, MaxTime: mint + step, External: stream.External}
			for _, s := range stream.Series {
				series := blocktest.Series{Labels: s.Labels}
				for _, p := range s.Samples {
					series.Samples = append(series.Samples, blocktest.Sample{T: p.T, V: p.Float, H: p.Histogram, FH: p.FloatHistogram})
				}
				b.Series = append(b.Series, series)
			}
			if len(b.Series) == 0 {
				continue
			}
			if change != nil {
				change(&b)
			}
			blocktest.Put(t, bkt, b)
		}
	}
}

// open returns a synced Bucket that is closed with the test.
func open(t *testing.T, bkt *objstoretest.Memory, opts Options) *Bucket {
	t.Helper()
	b, err := Open(bkt, t.TempDir(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := b.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	return b
}

func TestConformance(t *testing.T) {
	for name, c := range map[string]struct {
		length time.Duration
		change func(*blocktest.Block)
	}{
		"two-hour blocks": {length: 2 * time.Hour},
		"XOR2, small segments, small chunks": {length: 24 * time.Hour, change: func(b *blocktest.Block) {
			b.XOR2, b.SegmentSize, b.SamplesPerChunk = true, 700, 7
		}},
	} {
		t.Run(name, func(t *testing.T) {
			querytest.Run(t, querytest.Options{}, func(t *testing.T, data querytest.Data) storage.ChunkQueryable {
				bkt := objstoretest.NewMemory()
				putData(t, bkt, data, c.length, c.change)
				return open(t, bkt, Options{})
			})
		})
	}
}
