package block

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"

	"github.com/oklog/ulid/v2"

	"github.com/varve-tsdb/varve/internal/durable"
	"github.com/varve-tsdb/varve/internal/shipped"
)

// shipRecord is the content of a directory's ShipperFilename: which of its
// blocks need no further upload.
type shipRecord struct {
	path    string
	done    map[ulid.ULID]bool
	changed bool // against the file
}

// ReadShipped returns the blocks of dir that a Shipper has uploaded, or has
// found to hold no samples. Such blocks may be deleted locally. Without a
// Shipper's file the set is empty.
func ReadShipped(dir string) (map[ulid.ULID]bool, error) {
	r, err := readShipRecord(dir)
	return r.done, err
}

// readShipRecord returns an empty record beside an error: the record is a
// cache of what is in the bucket, and is filled again from there. A broken
// file is replaced by it in any case, one that could not be read only once
// there is something to add.
func readShipRecord(dir string) (*shipRecord, error) {
	done, err := shipped.Read(dir)
	r := &shipRecord{path: filepath.Join(dir, ShipperFilename), done: done}
	if done == nil {
		r.done = map[ulid.ULID]bool{}
		r.changed = err == nil || errors.Is(err, shipped.ErrInvalid)
	}
	return r, err
}

func (r *shipRecord) add(id ulid.ULID) {
	r.changed = r.changed || !r.done[id]
	r.done[id] = true
}

// keep forgets blocks that are gone from the directory.
func (r *shipRecord) keep(local map[ulid.ULID]bool) {
	maps.DeleteFunc(r.done, func(id ulid.ULID, _ bool) bool {
		r.changed = r.changed || !local[id]
		return !local[id]
	})
}

// write makes the file durable if it has changed.
func (r *shipRecord) write() error {
	if !r.changed {
		return nil
	}
	b, err := shipped.Encode(r.done)
	if err != nil {
		return err
	}
	if err := durable.ReplaceFile(r.path, b); err != nil {
		return fmt.Errorf("write %s: %w", r.path, err)
	}
	r.changed = false
	return nil
}
