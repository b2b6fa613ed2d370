package storeapi

import (
	"sync"

	"github.com/varve-tsdb/varve/internal/readcost"
)

// heldMemory is what a Select holds of the budget of its query for what has come and
// was not read yet. It is safe for concurrent use.
type heldMemory struct {
	cost *readcost.Cost
	use  readcost.Use

	mu    sync.Mutex // guards what follows
	bytes int64
	freed bool
}

// take asks for n more bytes. The error is that of the budget, or errClosed after free.
func (h *heldMemory) take(n int64) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.freed {
		return errClosed
	}
	if err := h.cost.Take(h.use, n); err != nil {
		return err
	}
	h.bytes += n
	return nil
}

// give gives n bytes back.
func (h *heldMemory) give(n int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	n = min(n, h.bytes)
	h.bytes -= n
	h.cost.Give(h.use, n)
}

// free gives everything back. Nothing more is taken.
func (h *heldMemory) free() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.freed = true
	h.cost.Give(h.use, h.bytes)
	h.bytes = 0
}
