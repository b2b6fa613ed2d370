package store

import (
	"context"
	"io"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/varve-tsdb/varve/internal/readcost"
	"github.com/varve-tsdb/varve/objstore"
)

// What is read from blocks, as metrics call it.
const (
	dataHeader   = "header"
	dataPostings = "postings"
	dataSeries   = "series"
	dataChunks   = "chunks"
)

// source is what all blocks share. It reads ranges of the bucket's objects, and
// bounds how many reads are under way. It may be used by several goroutines at once.
type source struct {
	bkt     objstore.BucketReader
	ranges  objstore.RangesReader // bkt, if it remembers; else nil
	slots   *semaphore.Weighted
	whole   *semaphore.Weighted // bytes; see wholeIndexes
	metrics *metrics
	log     *slog.Logger
	dirs    headerDirs
	headers *headerBudget
	// quarantine is what is known to be broken. refresh brings the view up to
	// date, and heir finds there what took a block's place; see Bucket.heir.
	quarantine *quarantine
	refresh    func(context.Context) error
	heir       func(*openBlock) *openBlock
	running    sync.WaitGroup // attempts to open headers
}

// open starts a read of a range. The slot it takes is given back when the
// reader is closed.
func (s *source) open(ctx context.Context, data, object string, sp span) (io.ReadCloser, error) {
	if sp.from < 0 || sp.len() <= 0 {
		return nil, corrupt("the bytes from %d to %d are referred to", sp.from, sp.to)
	}
	cost := readcost.From(ctx)
	began := time.Now()
	if err := s.slots.Acquire(ctx, 1); err != nil {
		return nil, err
	}
	cost.Took(readcost.Waiting, time.Since(began))
	s.metrics.requests.WithLabelValues(data).Inc()
	ctx, bill := bill(ctx, kindOf(data))
	r, err := s.bkt.GetRange(ctx, object, sp.from, sp.len())
	if err != nil {
		bill.end(0)
		s.slots.Release(1)
		return nil, err
	}
	return &sourceReader{ReadCloser: r, src: s, data: data, bill: bill}, nil
}

// kindOf is what the accounts of queries call what is read.
func kindOf(data string) readcost.Kind {
	switch data {
	case dataHeader:
		return readcost.Header
	case dataPostings:
		return readcost.Postings
	case dataSeries:
		return readcost.Series
	}
	return readcost.Chunks
}

type sourceReader struct {
	io.ReadCloser
	src  *source
	data string
	bill billing
	n    int
}

func (r *sourceReader) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	r.n += n
	return n, err
}

func (r *sourceReader) Close() error {
	r.src.metrics.bytes.WithLabelValues(r.data).Add(float64(r.n))
	r.src.slots.Release(1)
	defer r.bill.end(int64(r.n))
	return r.ReadCloser.Close()
}
