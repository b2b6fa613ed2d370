package block

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/varve-tsdb/varve/internal/durable"
)

// shipDir ships what is new in one directory. A directory that is deleted
// meanwhile has nothing left to ship, and is no error.
func (s *Shipper) shipDir(ctx context.Context, d shipDir) error {
	if gone(d.dir) {
		s.progress.set(d.dir, Pending{})
		return nil
	}
	err := s.shipExisting(ctx, d)
	if err != nil && gone(d.dir) {
		s.progress.set(d.dir, Pending{})
		return nil
	}
	return err
}

func (s *Shipper) shipExisting(ctx context.Context, d shipDir) error {
	// First goes what a process that was killed left.
	stage := stageOf(d.dir)
	if err := errors.Join(stage.clean(), durable.RemoveIfThere(filepath.Join(d.dir, ShipperFilename+durable.TmpSuffix))); err != nil {
		return s.failed(err)
	}
	record, err := readShipRecord(d.dir)
	if err != nil {
		s.opts.Logger.Warn("cannot use the list of shipped blocks, making a new one from the bucket",
			"dir", d.dir, "err", err)
	}
	metas, err := s.localMetas(d.dir, record)
	if err != nil {
		err = s.failed(err)
	}
	todo := s.todo(metas, record)
	s.progress.set(d.dir, pendingOf(todo))
	if len(todo) > 0 && d.external.IsEmpty() {
		err = errors.Join(err, s.failed(&NoExternalLabelsError{Dir: d.dir}))
	} else {
		err = errors.Join(err, s.shipBlocks(ctx, d, stage, record, todo))
	}
	return errors.Join(err, record.write())
}

func (s *Shipper) failed(err error) error {
	s.metrics.failures.Inc()
	return err
}

// localMetas reads the metas of the blocks that are in a directory and not in
// the record, and takes those that are gone off the record. Broken blocks are
// reported in the error, and do not hold back the others.
func (s *Shipper) localMetas(dir string, record *shipRecord) ([]*Meta, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("list blocks: %w", err)
	}
	var metas []*Meta
	var errs []error
	local := map[ulid.ULID]bool{}
	for _, e := range entries {
		id, ok := parseULID(e.Name())
		if !ok || !e.IsDir() {
			continue
		}
		local[id] = true
		if record.done[id] {
			continue
		}
		if _, ready := s.blockLabels(shipDir{dir: dir}, id); !ready {
			continue
		}
		m, err := ReadMetaDir(filepath.Join(dir, e.Name()))
		switch {
		case err == nil:
			metas = append(metas, m)
		case !gone(filepath.Join(dir, e.Name())):
			errs = append(errs, err)
		}
	}
	record.keep(local)
	return metas, errors.Join(errs...)
}

// blockLabels returns the external labels of a block, and whether it may be
// shipped.
func (s *Shipper) blockLabels(d shipDir, id ulid.ULID) (external labels.Labels, ready bool) {
	if src, ok := s.src.(blockLabeler); ok {
		return src.BlockLabels(d.dir, id)
	}
	return d.external, true
}

// gone tells whether a block was deleted while it was looked at.
func gone(dir string) bool {
	_, err := os.Stat(dir)
	return errors.Is(err, fs.ErrNotExist)
}

// todo selects the blocks to ship, ordered by time. A block without samples is
// done without an upload.
func (s *Shipper) todo(metas []*Meta, record *shipRecord) []*Meta {
	var todo []*Meta
	for _, m := range metas {
		switch {
		case m.Compaction.Level > 1 && !s.opts.UploadCompacted:
		case m.Stats.NumSamples == 0:
			record.add(m.ULID)
		default:
			todo = append(todo, m)
		}
	}
	slices.SortFunc(todo, compareMetas)
	return todo
}

// shipBlocks ships blocks in order. A block that fails does not hold back those
// behind it: it may never succeed. Only when the bucket does not even list do
// the others wait for the next pass.
func (s *Shipper) shipBlocks(ctx context.Context, d shipDir, stage stage, record *shipRecord, todo []*Meta) error {
	var errs []error
	var left []*Meta
	for i, m := range todo {
		err := s.shipInTime(ctx, d, stage, m)
		switch {
		case err == nil:
			record.add(m.ULID)
			err = record.write()
		case errors.Is(err, errGone):
			err = nil // not in the record: it may come back, as after a repair
		}
		if err != nil {
			errs = append(errs, s.failed(errorIn(d.dir, m.ULID, err)))
			left = append(left, m)
		}
		if ctx.Err() != nil || errors.Is(err, errAway) {
			left = append(left, todo[i+1:]...)
			break
		}
		s.progress.set(d.dir, pendingOf(append(slices.Clone(left), todo[i+1:]...)))
	}
	s.progress.set(d.dir, pendingOf(left))
	return errors.Join(errs...)
}

// errAway marks a bucket that does not answer.
var errAway = errors.New("bucket cannot be listed")

// errGone marks a block that left its directory before it could be linked.
var errGone = errors.New("block is not there any more")

// errorIn names the block by the directory it belongs to, not by where it is
// staged.
func errorIn(dir string, id ulid.ULID, err error) error {
	if named, ok := err.(*Error); ok && named.ID == id {
		err = named.Err
	}
	return &Error{ID: id, Dir: dir, Err: err}
}

// shipInTime is shipBlock within the time that one block may take.
func (s *Shipper) shipInTime(ctx context.Context, d shipDir, stage stage, local *Meta) error {
	limited, cancel := context.WithTimeout(ctx, s.opts.UploadTimeout)
	defer cancel()
	err := s.shipBlock(limited, d, stage, local)
	if err != nil && limited.Err() != nil && ctx.Err() == nil {
		return fmt.Errorf("not in the bucket after %s, which is ShipperOptions.UploadTimeout (the next pass goes on): %w",
			s.opts.UploadTimeout, err)
	}
	return err
}

// shipBlock makes sure that the bucket has the block, whole. It fails with
// errGone if there is nothing left to ship.
func (s *Shipper) shipBlock(ctx context.Context, d shipDir, stage stage, local *Meta) error {
	block := filepath.Join(d.dir, local.ULID.String())
	dir, remove, err := stage.link(block)
	if err != nil {
		if gone(block) {
			return errGone
		}
		return err
	}
	d.external, _ = s.blockLabels(d, local.ULID)
	err = s.shipStaged(ctx, d, dir)
	if removeErr := remove(); removeErr != nil {
		err = errors.Join(err, removeErr)
	}
	return err
}

func (s *Shipper) shipStaged(ctx context.Context, d shipDir, dir string) error {
	opts := UploadOptions{
		Labels: d.external, Source: s.opts.MetaSource, Concurrency: s.opts.UploadConcurrency,
		KeepPartial: true, Logger: s.opts.Logger, dated: s.index != nil,
	}.withDefaults()
	m, err := uploadMeta(dir, opts)
	if err != nil {
		return err
	}
	there, err := listBlock(ctx, s.bkt, m.ULID)
	if err != nil {
		return fmt.Errorf("%w: %w", errAway, err)
	}
	start := time.Now()
	e, sent, err := upload(ctx, s.bkt, dir, m, there, opts)
	if err != nil {
		return err
	}
	if !sent {
		// Whoever brought it there may not have come to tell the index. Many
		// of them, as after the loss of the record, are told of together.
		if s.index != nil {
			s.index.note([]Entry{e})
		}
		return nil
	}
	s.tellIndex(ctx, e)
	took := time.Since(start)
	s.metrics.uploaded(m.Bytes(), took)
	s.opts.Logger.Info("shipped a block", "block", m.ULID, "dir", d.dir, "labels", d.external,
		"mint", time.UnixMilli(m.MinTime).UTC(), "maxt", time.UnixMilli(m.MaxTime).UTC(),
		"series", m.Stats.NumSeries, "samples", m.Stats.NumSamples, "bytes", m.Bytes(), "duration", took)
	return nil
}
