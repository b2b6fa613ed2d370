package store

import (
	"errors"
	"sync/atomic"

	"github.com/varve-tsdb/varve/internal/readcost"
)

// tally finds out what came of a block in one Select, which may read it in
// several pieces: it counts once, and as read if one of them was.
type tally struct {
	cost        *readcost.Cost
	pieces      atomic.Int64 // that have not ended
	read        atomic.Bool
	quarantined atomic.Bool
}

// tallies returns a tally for each of the blocks.
func tallies(cost *readcost.Cost, picked []chosen) map[*blockReader]*tally {
	all := make(map[*blockReader]*tally, len(picked))
	for _, p := range picked {
		if all[p.blockReader] == nil {
			all[p.blockReader] = &tally{cost: cost}
		}
		all[p.blockReader].pieces.Add(1)
	}
	return all
}

// ended says how the reading of a piece ended, and how far it had come.
func (t *tally) ended(sent progress, err error) {
	switch {
	case isKnown(err) && sent.sent == 0:
		t.quarantined.Store(true)
	case err != nil || sent.matched:
		t.read.Store(true)
	}
	switch {
	case t.pieces.Add(-1) > 0 || t.read.Load():
	case t.quarantined.Load():
		t.cost.Skipped(readcost.SkippedQuarantined, 1)
	default:
		t.cost.Skipped(readcost.SkippedPostings, 1)
	}
}

// isKnown tells whether a block was not read because it was known to be broken.
func isKnown(err error) bool {
	fault, ok := errors.AsType[*BlockError](err)
	return ok && !fault.Since.IsZero()
}
