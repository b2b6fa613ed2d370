package blocktest

import (
	"context"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

// Block describes a block to write. Times are milliseconds.
type Block struct {
	// ID of the block. Zero draws a new one.
	ID ulid.ULID
	// MinTime (inclusive) and MaxTime (exclusive) of the block. Both zero means
	// the range of the samples. Every sample must lie inside.
	MinTime, MaxTime int64
	// External labels, written to the thanos section of meta.json.
	External labels.Labels
	// Resolution in milliseconds as meta.json claims it; the chunks are raw
	// whatever it says.
	Resolution int64
	// Source is the component that wrote the block. Empty means "test".
	Source string
	// Level of compaction; zero means 1.
	Level int
	// Sources of compaction; nil means the block itself.
	Sources []ulid.ULID
	// XOR2 encodes floats in the newer of the two encodings.
	XOR2 bool
	// SegmentSize cuts chunk files at this many bytes. Zero means Prometheus'
	// default, which no test block reaches.
	SegmentSize int64
	// SamplesPerChunk is the target the head aims at; zero means Prometheus' 120.
	SamplesPerChunk int
	// Series in any order, each at most once.
	Series []Series
}

// Write writes b as the directory <dir>/<ULID> and returns the ULID. Whatever
// goes wrong fails the test.
func Write(tb testing.TB, dir string, b Block) ulid.ULID {
	tb.Helper()
	mint, maxt := b.timeRange(tb)
	head := fillHead(tb, b, mint, maxt)
	defer func() {
		if err := head.Close(); err != nil {
			tb.Errorf("blocktest: close head: %v", err)
		}
	}()

	compactor, err := tsdb.NewLeveledCompactorWithOptions(context.Background(), nil, slog.New(slog.DiscardHandler),
		[]int64{max(maxt-mint, 1)}, chunkenc.NewPool(),
		tsdb.LeveledCompactorOptions{MaxBlockChunkSegmentSize: b.SegmentSize})
	if err != nil {
		tb.Fatalf("blocktest: new compactor: %v", err)
	}
	ids, err := compactor.Write(dir, head, mint, maxt, nil)
	if err != nil {
		tb.Fatalf("blocktest: write block: %v", err)
	}
	if len(ids) != 1 {
		tb.Fatalf("blocktest: %d blocks written, want 1: does the block have samples?", len(ids))
	}
	id := ids[0]
	if !b.ID.IsZero() {
		if err := os.Rename(filepath.Join(dir, id.String()), filepath.Join(dir, b.ID.String())); err != nil {
			tb.Fatalf("blocktest: %v", err)
		}
		id = b.ID
	}
	writeMeta(tb, filepath.Join(dir, id.String()), id, b)
	return id
}

// timeRange is the block's half-open range, checked against its samples.
func (b Block) timeRange(tb testing.TB) (mint, maxt int64) {
	tb.Helper()
	lo, hi := int64(math.MaxInt64), int64(math.MinInt64)
	for _, s := range b.Series {
		for _, p := range s.Samples {
			lo, hi = min(lo, p.T), max(hi, p.T)
		}
	}
	if lo > hi {
		tb.Fatalf("blocktest: the block has no samples")
	}
	if b.MinTime == 0 && b.MaxTime == 0 {
		return lo, hi + 1
	}
	if lo < b.MinTime || hi >= b.MaxTime {
		tb.Fatalf("blocktest: samples in [%d,%d] leave the block's range [%d,%d)", lo, hi, b.MinTime, b.MaxTime)
	}
	return b.MinTime, b.MaxTime
}

// fillHead appends the samples to a head whose chunk range is so wide that it
// takes them in any order of series.
func fillHead(tb testing.TB, b Block, mint, maxt int64) *tsdb.Head {
	tb.Helper()
	opts := tsdb.DefaultHeadOptions()
	opts.ChunkDirRoot = tb.TempDir()
	opts.ChunkRange = max(4*(maxt-mint), 1000)
	opts.StripeSize = 64
	if b.SamplesPerChunk > 0 {
		opts.SamplesPerChunk = b.SamplesPerChunk
	}
	if b.XOR2 {
		opts.FloatChunkEncoding.Store(uint32(chunkenc.EncXOR2))
	}
	head, err := tsdb.NewHead(nil, nil, nil, nil, opts, nil)
	if err != nil {
		tb.Fatalf("blocktest: new head: %v", err)
	}
	if err := head.Init(math.MinInt64); err != nil {
		tb.Fatalf("blocktest: init head: %v", err)
	}
	for _, s := range b.Series {
		appendSeries(tb, head, s)
	}
	return head
}

// appendSeries commits at each change of the sample type, since a head keeps
// no order among types inside one transaction.
func appendSeries(tb testing.TB, head *tsdb.Head, s Series) {
	tb.Helper()
	ctx := context.Background()
	app := head.AppenderV2(ctx)
	for i, p := range s.Samples {
		if i > 0 && p.kind() != s.Samples[i-1].kind() {
			if err := app.Commit(); err != nil {
				tb.Fatalf("blocktest: commit: %v", err)
			}
			app = head.AppenderV2(ctx)
		}
		if _, err := app.Append(0, s.Labels, 0, p.T, p.V, p.H, p.FH, storage.AOptions{}); err != nil {
			tb.Fatalf("blocktest: append to %s at %d: %v", s.Labels, p.T, err)
		}
	}
	if err := app.Commit(); err != nil {
		tb.Fatalf("blocktest: commit: %v", err)
	}
}
