package storeapi

import (
	"context"
	"errors"
	"io"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/annotations"
	"google.golang.org/grpc/codes"

	"github.com/varve-tsdb/varve/internal/exemplarsets"
	"github.com/varve-tsdb/varve/internal/readopts"
)

// ExemplarQuerier returns a querier for the exemplars of the server, which are none
// if it does not offer any. Warnings are what its method Warnings returns after
// Select.
func (c *Client) ExemplarQuerier(ctx context.Context) (storage.ExemplarQuerier, error) {
	return &clientExemplars{ctx: ctx, client: c}, nil
}

type clientExemplars struct {
	ctx      context.Context // the interface wants it kept
	client   *Client
	warnings annotations.Annotations
}

// Warnings of the last Select.
func (q *clientExemplars) Warnings() annotations.Annotations { return q.warnings }

// Select asks for the exemplars from start to end, both inclusive in ms, of the
// series that match one of the selectors.
func (q *clientExemplars) Select(start, end int64, selectors ...[]*labels.Matcher) ([]exemplar.QueryResult, error) {
	texts := make([]string, 0, len(selectors))
	for _, matchers := range selectors {
		texts = append(texts, selectorText(matchers))
	}
	var results []exemplar.QueryResult
	req := &exemplarsRequest{query: strings.Join(texts, " + "), mint: start, maxt: end, strict: !readopts.From(q.ctx).Partial}
	if len(texts) == 0 {
		return results, nil
	}
	var err error
	q.warnings, err = q.client.list(q.ctx, exemplarsMethod, req.strict, req.encode(), func(i *info) bool { return i.exemplars }, func(body []byte) (string, error) {
		r, warning, err := decodeExemplars(body)
		if len(r.Exemplars) > 0 {
			results = append(results, r)
		}
		return warning, err
	})
	if err != nil {
		return nil, err
	}
	return exemplarsets.Merge(results), nil
}

// MetricMetadata returns the metadata that the server has: of one metric, or of all if
// metric is empty, and of at most limit metrics unless that is 0. They are none if it
// does not offer any. In a partial read both results may be there: metadata, and
// *Warnings that there is more.
func (c *Client) MetricMetadata(ctx context.Context, metric string, limit int) (map[string][]metadata.Metadata, error) {
	req := &metadataRequest{metric: metric, limit: noLimit, strict: !readopts.From(ctx).Partial}
	if limit > 0 {
		req.limit = int64(min(limit, math.MaxInt32))
	}
	all := map[string][]metadata.Metadata{}
	warnings, err := c.list(ctx, metadataMethod, req.strict, req.encode(), func(i *info) bool { return i.metadata }, func(body []byte) (string, error) {
		return decodeMetadata(body, all)
	})
	if err != nil {
		return nil, err
	}
	if limit > 0 && len(all) > limit {
		for _, family := range slices.Sorted(maps.Keys(all))[limit:] {
			delete(all, family)
		}
	}
	return all, errors.Join(warnings.AsErrors()...)
}

// list calls a method that answers with many messages and hands each to use, which
// returns a warning if that is what it is. Servers that do not offer the method have
// nothing.
func (c *Client) list(ctx context.Context, method string, strict bool, req encoded, offers func(*info) bool, use func(body []byte) (warning string, err error)) (annotations.Annotations, error) {
	known, _ := c.info(ctx) // one that does not say may have the method
	if known != nil && !offers(known) {
		return nil, nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.open(ctx, method, req)
	if err != nil {
		return nil, err
	}
	var warnings annotations.Annotations
	for {
		m := &received{}
		err := stream.RecvMsg(m)
		if errors.Is(err, io.EOF) {
			return warnings, c.ended(ctx, method, err)
		}
		if err != nil {
			err = c.failure(ctx, method, err)
			if e := new(StatusError); errors.As(err, &e) && e.Code == codes.Unimplemented && known == nil {
				return nil, nil
			}
			return nil, err
		}
		text, err := use(m.body)
		if err != nil {
			return nil, c.nonsense(method, err)
		}
		if text == "" {
			continue
		}
		w := &Warning{c.opts.Name, text}
		if strict && !ours(known) {
			return nil, c.incomplete(method, w)
		}
		warnings.Add(w)
	}
}
