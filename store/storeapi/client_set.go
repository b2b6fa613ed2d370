package storeapi

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/util/annotations"
	"google.golang.org/grpc"

	"github.com/varve-tsdb/varve/internal/readcost"
	"github.com/varve-tsdb/varve/internal/sortedsets"
)

// clientSet is the answer to one Select, as it comes.
type clientSet struct {
	ctx    context.Context
	cancel context.CancelFunc
	client *Client
	req    *seriesRequest
	sorts  bool // who reads this keeps all of it, to sort it

	opened chan struct{} // closed once the following are there
	stream grpc.ClientStream
	known  *info // nil if the server does not say
	failed error

	decoder   frameDecoder
	held      *heldMemory      // by what has come
	passing   int64            // bytes of that which go when the next series is read
	queue     []receivedSeries // that have come and not gone out
	done      bool             // nothing more comes
	collected bool             // all has come and is sorted
	bytes     int64            // that have come, and were made of them
	count     int64            // label sets that have gone out
	begun     bool
	last      labels.Labels // of the series that has gone out last
	current   *clientSeries

	mu       sync.Mutex // guards what follows
	err      error
	warnings annotations.Annotations
}

func newClientSet(ctx context.Context, cancel context.CancelFunc, q *clientQuerier, req *seriesRequest, held *heldMemory) *clientSet {
	limits := unfolding{limit: int64(q.client.opts.MaxMessageBytes), take: held.take}
	return &clientSet{
		ctx: ctx, cancel: cancel, client: q.client, req: req, sorts: q.sorts, opened: make(chan struct{}),
		held: held, decoder: frameDecoder{unfolding: limits, mint: req.mint, maxt: req.maxt},
	}
}

// open sends the request.
func (s *clientSet) open() {
	defer close(s.opened)
	// A server that does not say what it is may still answer.
	s.known, _ = s.client.info(s.ctx)
	s.req.matchers = heeded(s.known, s.req.matchers)
	s.stream, s.failed = s.client.open(s.ctx, seriesMethod, s.req.encode())
}

// Next waits for the next series and moves to it.
func (s *clientSet) Next() bool {
	s.pass()
	if s.err != nil || s.ended() {
		return false
	}
	series, ok := s.merged()
	if !ok {
		s.cancel()
		return false
	}
	switch order := labels.Compare(s.last, series.labels); {
	case !s.begun, order != 0:
		if s.begun && order > 0 {
			return s.outOfOrder(series.labels)
		}
		s.begun = true
		s.count++
		if s.req.limit > 0 && s.count > s.req.limit {
			s.end()
			return false
		}
	}
	s.last = series.labels
	s.current = &clientSeries{series}
	return true
}

// pass gives back what the series that has gone out last held.
func (s *clientSet) pass() {
	s.held.give(s.passing)
	s.passing = 0
}

// end drops what has come and was not read, and has nothing more come.
func (s *clientSet) end() {
	s.done, s.queue = true, nil
	s.held.free()
	s.cancel()
}

func (s *clientSet) ended() bool { return s.done && len(s.queue) == 0 }

func (s *clientSet) outOfOrder(after labels.Labels) bool {
	s.client.unsorted.Store(true)
	s.client.metrics.unsorted.Inc()
	s.fail(&OrderError{Server: s.client.opts.Name, Before: s.last, After: after})
	return false
}

// merged returns the next series that has something to show, with the chunks of all
// its parts.
func (s *clientSet) merged() (receivedSeries, bool) {
	for {
		s.pass()
		one, ok := s.part()
		if !ok {
			return one, false
		}
		for s.more() && one.continues(s.queue[0]) {
			next, _ := s.part()
			one.chunks = append(one.chunks, next.chunks...)
		}
		if s.err != nil { // so that it may lack some
			return one, false
		}
		var err error
		if one.chunks, err = ordinary(s.ctx, sortedsets.Chunks(one.chunks), s.req.hints.fn); err != nil {
			s.fail(s.client.nonsense(seriesMethod, fmt.Errorf("series %s: %w", one.labels, err)))
			return one, false
		}
		if len(one.chunks) > 0 || s.req.skipChunks {
			return one, true
		}
	}
}

// part takes the next part of a series.
func (s *clientSet) part() (one receivedSeries, ok bool) {
	if !s.more() {
		return one, false
	}
	one, s.queue = s.queue[0], s.queue[1:]
	s.passing += one.bytes
	return one, true
}

// more waits until there is a part in the queue. It returns false at the end.
func (s *clientSet) more() bool {
	if !s.collected && (s.sorts || s.client.unsorted.Load()) && !s.begun {
		s.collect()
	}
	for len(s.queue) == 0 && !s.done {
		s.receive()
	}
	return len(s.queue) > 0
}

// collect waits for all parts and sorts them.
func (s *clientSet) collect() {
	s.collected = true
	var all []receivedSeries
	for !s.done {
		s.receive()
		all, s.queue = append(all, s.queue...), nil
		if s.bytes > s.client.opts.MaxBufferedBytes {
			s.fail(&BufferError{Server: s.client.opts.Name, Limit: s.client.opts.MaxBufferedBytes})
		}
	}
	if s.err != nil {
		return
	}
	slices.SortStableFunc(all, func(a, b receivedSeries) int {
		return cmp.Or(labels.Compare(a.labels, b.labels), labels.Compare(a.lost, b.lost))
	})
	s.queue = all
}

// receive waits for a message.
func (s *clientSet) receive() {
	select {
	case <-s.opened:
	case <-s.ctx.Done():
		<-s.opened // it ends with the context
	}
	if s.failed != nil {
		s.fail(s.failed)
		return
	}
	m := &received{}
	if err := s.stream.RecvMsg(m); err != nil {
		if err := s.client.ended(s.ctx, seriesMethod, err); err != nil {
			s.fail(err)
		}
		s.done = true
		return
	}
	s.client.metrics.bytes.Add(float64(len(m.body)))
	if err := s.held.take(int64(len(m.body))); err != nil {
		s.fail(err)
		return
	}
	f, err := s.decoder.decode(m.body)
	if err != nil {
		s.fail(s.undecoded(err))
		return
	}
	s.distribute(f.series, int64(len(m.body))+s.decoder.made)
	if f.warning != "" {
		s.warn(f.warning)
	}
	s.client.metrics.series.Add(float64(len(f.series)))
	s.queue = append(s.queue, f.series...)
}

// undecoded is the error of a message that could not be decoded.
func (s *clientSet) undecoded(err error) error {
	switch {
	case errors.Is(err, errUnfolds):
		return &MessageError{Server: s.client.opts.Name, Limit: s.client.opts.MaxMessageBytes}
	case errors.Is(err, errClosed), readcost.IsRefusal(err):
		return err
	}
	return s.client.nonsense(seriesMethod, err)
}

// distribute says of the series of a message which gives back how much of what the
// message holds. All of it is in memory until the last one has gone out; but those
// that are to be sorted go out in another order, and each with its part.
func (s *clientSet) distribute(series []receivedSeries, bytes int64) {
	s.bytes += bytes
	if len(series) == 0 {
		s.held.give(bytes)
		return
	}
	rest := bytes
	for i := range series {
		if !s.collected {
			series[i].bytes = 0
		}
		rest -= series[i].bytes
	}
	series[len(series)-1].bytes += rest
}

func (s *clientSet) warn(text string) {
	w := &Warning{s.client.opts.Name, text}
	if s.req.strict && !ours(s.known) {
		s.fail(s.client.incomplete(seriesMethod, w))
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.warnings.Add(w)
}

// fail ends the set.
func (s *clientSet) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
	}
	s.end()
}

// At returns the current series. It stays iterable.
func (s *clientSet) At() storage.ChunkSeries { return s.current }

// Err returns why the set ended too early.
func (s *clientSet) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Warnings of the server up to here.
func (s *clientSet) Warnings() annotations.Annotations {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all annotations.Annotations
	return all.Merge(s.warnings)
}

// continues tells whether next is another part of the same series. Replicas of each
// other differ in what they have lost; where nobody says, all is one.
func (r receivedSeries) continues(next receivedSeries) bool {
	return labels.Equal(r.labels, next.labels) && r.told == next.told && labels.Equal(r.lost, next.lost)
}

// clientSeries is a series that has come.
type clientSeries struct{ receivedSeries }

// Labels of the series.
func (s *clientSeries) Labels() labels.Labels { return s.labels }

// Removed returns the labels that the series has lost, if the server says so.
func (s *clientSeries) Removed() (lost labels.Labels, known bool) { return s.lost, s.told }

// Iterator over the chunks.
func (s *clientSeries) Iterator(chunks.Iterator) chunks.Iterator {
	return storage.NewListChunkSeriesIterator(s.chunks...)
}
