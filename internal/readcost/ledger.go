package readcost

// Take asks for n bytes of memory. If they do not fit it returns a *LimitError,
// and nothing was taken.
func (c *Cost) Take(u Use, n int64) error {
	if c == nil || n <= 0 {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.ended(); err != nil {
		return err
	}
	b := c.budget
	if limit := b.opts.QueryBytes; limit > 0 && c.used+n > limit {
		return c.refuse(&LimitError{Limit: queryBytes, Value: limit, Asked: c.used + n, Unit: "bytes", Of: c.uses(u, n)})
	}
	if !b.take(n) {
		err := b.overTotal(c.used, c.used+n)
		if err.RetryAfter == 0 {
			err.Of = c.uses(u, n)
		}
		return c.refuse(err)
	}
	c.inUse[u] += n
	c.used += n
	c.peak = max(c.peak, c.used)
	return nil
}

// Give gives back n bytes that were taken for the same use.
func (c *Cost) Give(u Use, n int64) {
	if c == nil || n <= 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return // Close has given back everything
	}
	c.inUse[u] -= n
	c.used -= n
	c.budget.give(n)
}

// Least is the least that a read will take, as far as it is known before it is
// fetched.
type Least struct {
	Postings int64 // bytes of postings, all in memory at once
	Series   int64 // that the reader gets
	Kept     int64 // bytes that the reader keeps
	Fetched  int64 // bytes to be read from the bucket
}

// Add sums what two reads take at least.
func (l Least) Add(other Least) Least {
	return Least{l.Postings + other.Postings, l.Series + other.Series, l.Kept + other.Kept, l.Fetched + other.Fetched}
}

// Admit refuses a read that cannot fit, before it has read anything. What several
// reads of a query are going to keep is added up.
func (c *Cost) Admit(least Least) error {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.ended(); err != nil {
		return err
	}
	c.promised += least.Kept
	need := c.promised + least.Postings
	opts := &c.budget.opts
	switch {
	case opts.QueryBytes > 0 && need > opts.QueryBytes:
		return c.refuse(&LimitError{Limit: queryBytes, Value: opts.QueryBytes, Asked: need, Unit: "bytes", AtLeast: true})
	case c.keeps.Load() && opts.QuerySeries > 0 && least.Series > opts.QuerySeries:
		return c.refuse(&LimitError{Limit: querySeries, Value: opts.QuerySeries, Asked: least.Series, Unit: "series", AtLeast: true})
	case opts.QueryFetch > 0 && c.asked+least.Fetched > opts.QueryFetch:
		return c.refuse(&LimitError{Limit: queryFetch, Value: opts.QueryFetch, Asked: c.asked + least.Fetched, Unit: "bytes", AtLeast: true})
	case opts.TotalBytes > 0 && need-c.used > 0 && c.budget.used.Load()+need-c.used > opts.TotalBytes:
		err := c.budget.overTotal(c.used, need)
		err.AtLeast = err.RetryAfter == 0
		return c.refuse(err)
	}
	return nil
}

// Fetch asks to read n bytes of a bucket.
func (c *Cost) Fetch(n int64) error {
	if c == nil || c.budget.opts.QueryFetch <= 0 {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.ended(); err != nil {
		return err
	}
	if limit := c.budget.opts.QueryFetch; c.asked+n > limit {
		return c.refuse(&LimitError{Limit: queryFetch, Value: limit, Asked: c.asked + n, Unit: "bytes"})
	}
	c.asked += n
	return nil
}

// Blocks asks to read n more blocks.
func (c *Cost) Blocks(n int) error {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.ended(); err != nil {
		return err
	}
	c.blocks += int64(n)
	if limit := int64(c.budget.opts.QueryBlocks); limit > 0 && c.blocks > limit {
		return c.refuse(&LimitError{Limit: queryBlocks, Value: limit, Asked: c.blocks, Unit: "blocks"})
	}
	return nil
}

// Returned notes what the reader got, and refuses more than it may get.
func (c *Cost) Returned(series, chunks, samples int) error {
	if c == nil {
		return nil
	}
	gotSeries := c.returned.series.Add(int64(series))
	c.returned.chunks.Add(int64(chunks))
	gotSamples := c.returned.samples.Add(int64(samples))
	opts := &c.budget.opts
	var err *LimitError
	switch {
	case opts.QuerySeries > 0 && gotSeries > opts.QuerySeries:
		err = &LimitError{Limit: querySeries, Value: opts.QuerySeries, Asked: gotSeries, Unit: "series", AtLeast: true}
	case opts.QuerySamples > 0 && gotSamples > opts.QuerySamples:
		err = &LimitError{Limit: querySamples, Value: opts.QuerySamples, Asked: gotSamples, Unit: "samples", AtLeast: true}
	default:
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.ended(); err != nil {
		return err
	}
	return c.refuse(err)
}

// Close gives back all memory. What is asked for later is refused. It may be
// called twice.
func (c *Cost) Close() {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	c.closed = true
	c.budget.give(c.used)
	c.used, c.inUse = 0, [uses]int64{}
}

// ended returns why nothing more is granted. c.mu is held.
func (c *Cost) ended() error {
	switch {
	case c.refused != nil:
		return c.refused
	case c.closed:
		return errClosed
	}
	return nil
}

// refuse notes the first refusal. c.mu is held.
func (c *Cost) refuse(err *LimitError) error {
	err.names = c.budget.opts.Names
	c.refused = err
	c.budget.metrics.refused.WithLabelValues(err.Limit).Inc()
	return err
}

// uses lists what memory is used for, with n more bytes of one use. c.mu is held.
func (c *Cost) uses(u Use, n int64) (of [uses]int64) {
	of = c.inUse
	of[u] += n
	return of
}
