package store

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/util/annotations"

	"github.com/varve-tsdb/varve/internal/readopts"
	"github.com/varve-tsdb/varve/objstore"
)

// openOver returns a synced Bucket over any bucket, closed with the test.
func openOver(tb testing.TB, bkt objstore.BucketReader, dir string, opts Options) *Bucket {
	tb.Helper()
	b, err := Open(bkt, dir, opts)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := b.Close(); err != nil {
			tb.Error(err)
		}
	})
	if err := b.Sync(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	return b
}

func equal(name, value string) *labels.Matcher {
	return labels.MustNewMatcher(labels.MatchEqual, name, value)
}

func like(name, value string) *labels.Matcher {
	return labels.MustNewMatcher(labels.MatchRegexp, name, value)
}

func partial(ctx context.Context) context.Context {
	return readopts.With(ctx, readopts.Options{Partial: true})
}

// read returns the series of [mint, maxt] as text, a line each: labels, then
// time:value of each sample of their chunks.
func read(ctx context.Context, b storage.ChunkQueryable, mint, maxt int64, matchers ...*labels.Matcher) (string, annotations.Annotations, error) {
	q, err := b.ChunkQuerier(mint, maxt)
	if err != nil {
		return "", nil, err
	}
	defer q.Close()
	return text(q.Select(ctx, true, nil, matchers...))
}

func text(chunks storage.ChunkSeriesSet) (string, annotations.Annotations, error) {
	set := storage.NewSeriesSetFromChunkSeriesSet(chunks)
	var out strings.Builder
	for set.Next() {
		fmt.Fprintf(&out, "%s", set.At().Labels())
		it := set.At().Iterator(nil)
		for typ := it.Next(); typ != chunkenc.ValNone; typ = it.Next() {
			if typ != chunkenc.ValFloat {
				fmt.Fprintf(&out, " %d:%s", it.AtT(), typ)
				continue
			}
			t, v := it.At()
			fmt.Fprintf(&out, " %d:%g", t, v)
		}
		if it.Err() != nil {
			return "", set.Warnings(), it.Err()
		}
		out.WriteString("\n")
	}
	return out.String(), set.Warnings(), set.Err()
}

// mustRead is read for questions that must be answered in full.
func mustRead(tb testing.TB, b storage.ChunkQueryable, mint, maxt int64, matchers ...*labels.Matcher) string {
	tb.Helper()
	got, warnings, err := read(tb.Context(), b, mint, maxt, matchers...)
	if err != nil || len(warnings) > 0 {
		tb.Fatalf("error %v, warnings %v", err, warnings.AsErrors())
	}
	return got
}
