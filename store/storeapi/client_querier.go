package storeapi

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/annotations"

	"github.com/varve-tsdb/varve/internal/aggrchunk"
	"github.com/varve-tsdb/varve/internal/extlabels"
	"github.com/varve-tsdb/varve/internal/readcost"
	"github.com/varve-tsdb/varve/internal/readopts"
)

// errClosed is what a querier answers that has been closed. What was under way then
// fails by it or by the end of its context, whichever is noticed first.
var errClosed = fmt.Errorf("storeapi: the querier has been closed: %w", context.Canceled)

// clientQuerier asks a server. It is safe for concurrent use.
type clientQuerier struct {
	client     *Client
	mint, maxt int64 // both inclusive, ms
	without    []string
	sorts      bool // who reads this keeps all of a Select to sort it

	running sync.WaitGroup
	mu      sync.Mutex // guards what follows
	cancels []func()
	closed  bool
}

// begin returns a context that ends with Close at the latest, which then calls ended,
// too; or false if it was called. Close waits for q.running.Done.
func (q *clientQuerier) begin(ctx context.Context, ended func()) (_ context.Context, cancel func(), ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return ctx, nil, false
	}
	ctx, cancel = context.WithCancel(ctx)
	q.cancels = append(q.cancels, cancel, ended)
	q.running.Add(1)
	return ctx, cancel, true
}

// Select asks for the matching series and returns without waiting for the answer.
// They are always sorted.
func (q *clientQuerier) Select(ctx context.Context, _ bool, hints *storage.SelectHints, matchers ...*labels.Matcher) storage.ChunkSeriesSet {
	req := q.request(ctx, hints, matchers)
	if req.mint > req.maxt {
		return storage.EmptyChunkSeriesSet()
	}
	held := &heldMemory{cost: readcost.From(ctx), use: readcost.ChunksInFlight}
	if req.skipChunks {
		held.use = readcost.SeriesInFlight
	}
	ctx, cancel, ok := q.begin(ctx, held.free)
	if !ok {
		return storage.ErrChunkSeriesSet(errClosed)
	}
	s := newClientSet(ctx, cancel, q, req, held)
	go func() {
		defer q.running.Done()
		s.open()
	}()
	return s
}

// request words a Select.
func (q *clientQuerier) request(ctx context.Context, hints *storage.SelectHints, matchers []*labels.Matcher) *seriesRequest {
	opts := readopts.From(ctx)
	req := &seriesRequest{
		mint: q.mint, maxt: q.maxt, matchers: matchers, strict: !opts.Partial,
		without: q.without, removed: len(q.without) > 0, batch: int64(q.client.opts.BatchSize),
	}
	if !aggrchunk.IsAsStored(ctx) {
		req.aggregates = setOf(aggrchunk.ForFunc(""))
	}
	req.maxResolution = opts.MaxResolution.Milliseconds()
	if hints == nil {
		return req
	}
	if !aggrchunk.IsAsStored(ctx) {
		req.aggregates = setOf(aggrchunk.ForFunc(hints.Func))
	}
	rng := time.Duration(hints.Range) * time.Millisecond
	req.maxResolution = aggrchunk.CapResolution(opts.MaxResolution, hints.Func, rng).Milliseconds()
	req.mint, req.maxt = max(q.mint, hints.Start), min(q.maxt, hints.End)
	req.skipChunks = hints.Func == "series"
	if !q.sorts { // what is one series to the reader may be several to the server
		req.limit = int64(max(hints.Limit, 0))
	}
	if !req.skipChunks {
		req.hints = queryHints{step: hints.Step, fn: hints.Func, by: hints.By, grouping: slices.Clone(hints.Grouping), rng: hints.Range}
	}
	return req
}

// matchAll stands beside matchers that are all about external labels.
var matchAll = labels.MustNewMatcher(labels.MatchRegexp, model.MetricNameLabel, ".*")

// heeded returns matchers that a server of Thanos does not refuse.
func heeded(i *info, matchers []*labels.Matcher) []*labels.Matcher {
	if len(matchers) == 0 || onlyExternal(i, matchers) {
		return append(slices.Clone(matchers), matchAll)
	}
	return matchers
}

// LabelNames returns the names of the labels of the matching series.
func (q *clientQuerier) LabelNames(ctx context.Context, hints *storage.LabelHints, matchers ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return q.labels(ctx, labelNamesMethod, &labelsRequest{}, hints, matchers)
}

// LabelValues returns the values of a label among the matching series.
func (q *clientQuerier) LabelValues(ctx context.Context, name string, hints *storage.LabelHints, matchers ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	if name == "" || slices.Contains(q.without, name) {
		return nil, nil, nil
	}
	return q.labels(ctx, labelValuesMethod, &labelsRequest{values: true, label: name}, hints, matchers)
}

func (q *clientQuerier) labels(ctx context.Context, method string, req *labelsRequest, hints *storage.LabelHints, matchers []*labels.Matcher) ([]string, annotations.Annotations, error) {
	ctx, cancel, ok := q.begin(ctx, func() {})
	if !ok {
		return nil, nil, errClosed
	}
	defer q.running.Done()
	defer cancel()
	if q.mint > q.maxt {
		return nil, nil, nil
	}
	req.mint, req.maxt, req.matchers, req.without = q.mint, q.maxt, matchers, q.without
	req.strict = !readopts.From(ctx).Partial
	if hints != nil {
		req.limit = int64(max(hints.Limit, 0))
	}
	known, _ := q.client.info(ctx) // not knowing costs no more than a refusal
	if len(matchers) > 0 && onlyExternal(known, matchers) {
		req.matchers = heeded(known, matchers)
	}
	body, err := q.client.call(ctx, method, req.encode())
	if err != nil {
		return nil, nil, err
	}
	res, err := decodeLabelsResponse(body)
	if err != nil {
		return nil, nil, q.client.nonsense(method, err)
	}
	return q.labelsOf(method, req, res, known)
}

// labelsOf checks an answer about labels.
func (q *clientQuerier) labelsOf(method string, req *labelsRequest, res *labelsResponse, known *info) ([]string, annotations.Annotations, error) {
	var warnings annotations.Annotations
	for _, text := range res.warnings {
		w := &Warning{q.client.opts.Name, text}
		if req.strict && !ours(known) {
			return nil, nil, q.client.incomplete(method, w)
		}
		warnings.Add(w)
	}
	list := slices.DeleteFunc(res.list, func(name string) bool { return name == "" || !req.values && slices.Contains(q.without, name) })
	slices.Sort(list)
	list = slices.Compact(list)
	if req.limit > 0 && int64(len(list)) > req.limit {
		list = list[:req.limit]
	}
	return list, warnings, nil
}

// ours tells whether a server is Varve's: it says which labels series have lost, and
// a warning in a read that is to be whole does not mean that it is not, since it
// would have failed such a read.
func ours(i *info) bool { return i != nil && i.store != nil && i.store.removed }

// Close ends what is still under way and waits for it. Series that were read stay
// usable. It may be called twice.
func (q *clientQuerier) Close() error {
	q.mu.Lock()
	q.closed = true
	cancels := q.cancels
	q.cancels = nil
	q.mu.Unlock()
	for _, cancel := range cancels {
		cancel()
	}
	q.running.Wait()
	return nil
}

// ChunkQuerierWithout is like ChunkQuerier, but the labels named in without are
// absent from all results, which are in the order of what is left. Label sets that
// are equal without them follow each other unmerged.
//
// A server of Varve does that, and says which labels each series has lost, by which
// replicas are told apart. One of Thanos could leave labels out too, but not say
// which, and would send two replicas as one series with a muddle of chunks. So what
// comes from there is sorted here, and a Select keeps it until all has come.
// Before the first successful Sync it is not known which it is.
func (c *Client) ChunkQuerierWithout(mint, maxt int64, without []string) (storage.ChunkQuerier, error) {
	q := &clientQuerier{client: c, mint: mint, maxt: maxt}
	if len(without) == 0 {
		return q, nil
	}
	if ours(c.known.Load()) {
		q.without = slices.Clone(without)
		return q, nil
	}
	q.sorts = true
	return extlabels.NewChunkQuerier(q, labels.EmptyLabels(), slices.Clone(without)), nil
}
