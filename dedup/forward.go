package dedup

import (
	"context"
	"math"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
)

// streamer is a source that knows its external labels.
type streamer interface {
	Streams(yield func(external labels.Labels, mint, maxt int64) bool)
}

// metadataQueryable is a source that knows the metadata of metrics.
type metadataQueryable interface {
	MetricMetadata(ctx context.Context, metric string, limit int) (map[string][]metadata.Metadata, error)
}

// Streams calls yield with the external labels of each stream of the source,
// without replica labels, and the inclusive time range in milliseconds that all
// replicas of the stream span together. For a source that does not tell, it
// yields one stream without labels that spans all time, which rules out nothing.
func (q *Queryable) Streams(yield func(external labels.Labels, mint, maxt int64) bool) {
	source, ok := q.inner.(streamer)
	if !ok {
		yield(labels.EmptyLabels(), math.MinInt64, math.MaxInt64)
		return
	}
	type stream struct {
		external   labels.Labels
		mint, maxt int64
	}
	var (
		streams []stream
		index   = map[string]int{}
		b       = labels.NewBuilder(labels.EmptyLabels())
		buf     []byte
	)
	source.Streams(func(external labels.Labels, mint, maxt int64) bool {
		b.Reset(external)
		external = b.Del(q.replicas...).Labels()
		buf = external.Bytes(buf)
		i, ok := index[string(buf)]
		if !ok {
			index[string(buf)] = len(streams)
			streams = append(streams, stream{external, mint, maxt})
			return true
		}
		s := &streams[i]
		s.mint, s.maxt = min(s.mint, mint), max(s.maxt, maxt)
		return true
	})
	for _, s := range streams {
		if !yield(s.external, s.mint, s.maxt) {
			return
		}
	}
}

// MetricMetadata returns the source's metadata, which has no replica labels. A
// source without metadata has none.
func (q *Queryable) MetricMetadata(ctx context.Context, metric string, limit int) (map[string][]metadata.Metadata, error) {
	if source, ok := q.inner.(metadataQueryable); ok {
		return source.MetricMetadata(ctx, metric, limit)
	}
	return nil, nil
}
