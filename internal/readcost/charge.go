package readcost

// Charge is what one step of a read holds of its Cost. It belongs to one
// goroutine at a time. The zero Charge, which has no Cost, is free, and so is
// nil.
type Charge struct {
	Cost *Cost
	Use  Use
	held int64
}

// Take asks for n more bytes.
func (c *Charge) Take(n int64) error {
	if c == nil {
		return nil
	}
	if err := c.Cost.Take(c.Use, n); err != nil {
		return err
	}
	c.held += max(n, 0)
	return nil
}

// Shrink gives back what exceeds n bytes.
func (c *Charge) Shrink(n int64) {
	if c != nil && n < c.held {
		c.Cost.Give(c.Use, c.held-n)
		c.held = n
	}
}

// Free gives back everything.
func (c *Charge) Free() { c.Shrink(0) }

// Pass hands what is held over to whoever will give it back by Cost.Give, and
// returns how much that is.
func (c *Charge) Pass() int64 {
	n := c.held
	c.held = 0
	return n
}

// Hoard takes memory in portions, for many small things that are kept until the
// Cost is closed. It belongs to one goroutine at a time.
type Hoard struct {
	Cost *Cost
	left int64 // taken and not used yet
}

// portion is large against a series and small against a budget.
const portion = 64 << 10

// Keep asks for n more bytes.
func (h *Hoard) Keep(n int64) error {
	if h.Cost == nil {
		return nil
	}
	if h.left < n {
		more := max(portion, n-h.left)
		if err := h.Cost.Take(Kept, more); err != nil {
			return err
		}
		h.left += more
	}
	h.left -= n
	return nil
}
