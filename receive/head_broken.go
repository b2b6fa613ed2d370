package receive

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/fileutil"
)

// brokenSuffix ends the name of a block's directory that was set aside.
const brokenSuffix = ".broken"

// setBrokenAside renames the blocks that the TSDB would load next and could
// not. One of them would keep the TSDB from being opened, and from cutting:
// having written a block, it would fail to load the broken one, delete what it
// had just written, and write it again under another name in the next pass.
// Blocks that are loaded already are not looked at.
//
// A block of which it cannot be told, for instance because too many files are
// open, is an error and stays where it is.
func (h *head) setBrokenAside(loaded map[ulid.ULID]bool) error {
	entries, err := os.ReadDir(h.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look for broken blocks: %w", err)
	}
	var errs []error
	for _, entry := range entries {
		id, err := ulid.ParseStrict(entry.Name())
		if err != nil || !entry.IsDir() || loaded[id] {
			continue
		}
		dir := filepath.Join(h.dir, entry.Name())
		if _, ok := readMeta(dir); !ok {
			continue // The TSDB passes it by.
		}
		switch err := tryBlock(dir); {
		case err == nil:
		case isBroken(err):
			errs = append(errs, h.setAside(dir, id, err))
		default:
			errs = append(errs, fmt.Errorf("block %s in %s cannot be opened (restore it, or move it away to lose its samples): %w", id, h.dir, err))
		}
	}
	return errors.Join(errs...)
}

func (h *head) setAside(dir string, id ulid.ULID, cause error) error {
	aside := dir + brokenSuffix
	for n := 2; exists(aside); n++ {
		aside = fmt.Sprint(dir, brokenSuffix, "-", n)
	}
	if err := fileutil.Rename(dir, aside); err != nil {
		return fmt.Errorf("set broken block %s aside: %w", id, err)
	}
	h.metrics.blocksBroken.Inc()
	h.log.Error("A block on the local disk is broken and has been set aside; its samples are missing from local answers and it is not shipped. "+
		"Restore the block under its own name and restart, or delete what was set aside if the bucket has the block or its samples may be lost.",
		"block", id, "dir", aside, "err", cause)
	return nil
}

// setBrokenAsideMeanwhile is setBrokenAside for an open head.
func (h *head) setBrokenAsideMeanwhile() error {
	if err := h.setBrokenAside(h.loaded()); err != nil {
		return fmt.Errorf("tenant %q: no blocks are cut or deleted: %w", h.tenant, err)
	}
	return nil
}

// loaded returns the blocks that the TSDB has open. One that it has just cut is
// among them once the TSDB will not delete it again as a failure.
func (h *head) loaded() map[ulid.ULID]bool {
	out := map[ulid.ULID]bool{}
	for _, b := range h.db.Blocks() {
		out[b.Meta().ULID] = true
	}
	return out
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// readMeta returns the meta.json of a directory, if the TSDB would take it for a
// block.
func readMeta(dir string) (meta tsdb.BlockMeta, ok bool) {
	raw, err := os.ReadFile(filepath.Join(dir, "meta.json"))
	ok = err == nil && json.Unmarshal(raw, &meta) == nil && meta.Version == 1
	return meta, ok
}

// tryBlock opens a block as the TSDB does.
func tryBlock(dir string) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("opening it panicked: %v", r)
		}
	}()
	block, err := tsdb.OpenBlock(nil, dir, nil, nil)
	if err != nil {
		return err
	}
	return block.Close()
}

// isBroken tells whether an error of opening a block is about what is in its
// files. What the operating system says may be about anything else, except that
// a file is missing or, since it cannot be mapped, empty.
func isBroken(err error) bool {
	var says syscall.Errno
	if !errors.As(err, &says) {
		return true
	}
	return says == syscall.ENOENT || says == syscall.EINVAL
}
