package readcost

import (
	"errors"
	"fmt"
	"time"
)

// Report is what a read has cost up to one moment.
type Report struct {
	// Fetched has what was read of blocks, by kind: header, postings, series and
	// chunks.
	Fetched map[string]Fetched `json:"fetched"`
	// Blocks that selectors looked at, each counted for every selector, and
	// those that were not read, by reason.
	BlocksConsidered int64            `json:"blocksConsidered"`
	BlocksSkipped    map[string]int64 `json:"blocksSkipped"`
	// SeriesRead and ChunksRead are those of blocks; SeriesReturned,
	// ChunksReturned and SamplesReturned what the reader got of all sources,
	// merged. The samples are all those in the chunks.
	SeriesRead      int64 `json:"seriesRead"`
	ChunksRead      int64 `json:"chunksRead"`
	SeriesReturned  int64 `json:"seriesReturned"`
	ChunksReturned  int64 `json:"chunksReturned"`
	SamplesReturned int64 `json:"samplesReturned"`
	// Seconds spent on each step, added up over what runs side by side.
	Seconds map[string]float64 `json:"seconds"`
	// PeakBytes of memory that it held at a time.
	PeakBytes int64 `json:"peakBytes"`
	// Price in Currency, nil if there is no price list.
	Price *float64 `json:"price,omitempty"`
	// Currency of Price.
	Currency string `json:"currency,omitempty"`
}

// Fetched is what was read of one kind.
type Fetched struct {
	// Requests of the bucket, and Bytes that came of them. Second tries of what
	// failed and second requests for what was slow are among them where the bucket
	// tells, by objstore.WithRequests below all else: they are paid for, too.
	Requests int64 `json:"requests"`
	Bytes    int64 `json:"bytes"`
	// CacheHits are pieces of blocks, of whatever size the cache keeps them in, that
	// were found there rather than read from the bucket, and CacheBytes their size.
	CacheHits  int64 `json:"cacheHits"`
	CacheBytes int64 `json:"cacheBytes"`
}

// Requests of buckets of all kinds.
func (r Report) Requests() (n int64) {
	for _, f := range r.Fetched {
		n += f.Requests
	}
	return n
}

// Bytes read of buckets of all kinds.
func (r Report) Bytes() (n int64) {
	for _, f := range r.Fetched {
		n += f.Bytes
	}
	return n
}

// BlocksRead is how many of the blocks considered were read.
func (r Report) BlocksRead() int64 {
	n := r.BlocksConsidered
	for _, skipped := range r.BlocksSkipped {
		n -= skipped
	}
	return n
}

// Touched tells whether a store was asked. Other sources do not say what they
// cost.
func (c *Cost) Touched() bool { return c != nil && c.touched.Load() }

// Report returns what was noted so far.
func (c *Cost) Report() Report {
	if c == nil {
		return Report{}
	}
	r := Report{
		Fetched:          make(map[string]Fetched, kinds),
		BlocksConsidered: c.considered.Load(), BlocksSkipped: make(map[string]int64, skips),
		SeriesRead: c.read.series.Load(), ChunksRead: c.read.chunks.Load(),
		SeriesReturned: c.returned.series.Load(), ChunksReturned: c.returned.chunks.Load(), SamplesReturned: c.returned.samples.Load(),
		Seconds: make(map[string]float64, steps),
	}
	for _, k := range Kinds() {
		f := &c.fetched[k]
		r.Fetched[k.String()] = Fetched{f.requests.Load(), f.bytes.Load(), f.hits.Load(), f.bytesFromHit.Load()}
	}
	for _, s := range Skips() {
		r.BlocksSkipped[s.String()] = c.skipped[s].Load()
	}
	for _, s := range Steps() {
		r.Seconds[s.String()] = time.Duration(c.took[s].Load()).Seconds()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	r.PeakBytes = c.peak
	return r
}

// Prices is what a provider asks for reading of a bucket. The zero Prices says
// nothing.
type Prices struct {
	// ThousandRequests is the price of 1,000 reading requests, such as 0.0004.
	ThousandRequests float64
	// Gigabyte is the price of 10^9 bytes that leave the bucket; within a region
	// most providers ask none.
	Gigabyte float64
	// Currency is shown beside the figure. Empty is USD.
	Currency string
}

// IsZero tells whether there are no prices.
func (p Prices) IsZero() bool { return p.ThousandRequests == 0 && p.Gigabyte == 0 }

// Validate reports all problems at once.
func (p Prices) Validate() error {
	var errs []error
	if !(p.ThousandRequests >= 0) {
		errs = append(errs, fmt.Errorf("Prices.ThousandRequests is %v, want 0 or more", p.ThousandRequests))
	}
	if !(p.Gigabyte >= 0) {
		errs = append(errs, fmt.Errorf("Prices.Gigabyte is %v, want 0 or more", p.Gigabyte))
	}
	return errors.Join(errs...)
}

// Of fills in what r costs in money, if there are prices.
func (p Prices) Of(r Report) Report {
	if p.IsZero() {
		return r
	}
	price := float64(r.Requests())/1000*p.ThousandRequests + float64(r.Bytes())/1e9*p.Gigabyte
	r.Price, r.Currency = &price, p.Currency
	if r.Currency == "" {
		r.Currency = "USD"
	}
	return r
}
