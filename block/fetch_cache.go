package block

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/varve-tsdb/varve/internal/durable"
)

// metaCache keeps metas in memory and, if it has a directory, on disk, each with
// the time when it was written as the bucket's listing told before it was read. It
// is safe for concurrent use.
//
// A file is named <ULID>.meta and holds a line with a version, that time and a
// checksum, then the bytes of meta.json. A file that fails the check is as good as none,
// which is why none is synced: a thousand syncs would be the slowest part of a
// first start.
type metaCache struct {
	dir string // empty: memory only

	mu    sync.Mutex // guards metas
	metas map[ulid.ULID]cachedMeta
}

type cachedMeta struct {
	meta    *Meta
	written time.Time // zero if unknown
}

const cacheSuffix = ".meta"

func openMetaCache(dir string) (*metaCache, error) {
	if dir != "" {
		if err := os.MkdirAll(dir, 0o777); err != nil {
			return nil, fmt.Errorf("open cache of metas: %w", err)
		}
	}
	return &metaCache{dir: dir, metas: map[ulid.ULID]cachedMeta{}}, nil
}

// get returns a meta that was written at a time, or any if that is zero, and
// whether it came from memory or disk; or nil.
func (c *metaCache) get(id ulid.ULID, written time.Time) (m *Meta, from string) {
	c.mu.Lock()
	known := c.metas[id]
	c.mu.Unlock()
	if known.meta != nil {
		if !asWritten(known.written, written) {
			return nil, ""
		}
		return known.meta, "memory"
	}
	if c.dir == "" {
		return nil, ""
	}
	b, err := os.ReadFile(c.path(id))
	if err != nil {
		return nil, ""
	}
	content, at, ok := openCacheFile(b)
	if !ok || !asWritten(at, written) {
		return nil, ""
	}
	m, err = parseMetaOf(id, content)
	if err != nil {
		return nil, ""
	}
	c.putMemory(m, at)
	return m, "disk"
}

// put remembers a meta. An error means that the disk does not have it; memory
// does in any case.
func (c *metaCache) put(m *Meta, content []byte, written time.Time) error {
	c.putMemory(m, written)
	if c.dir == "" {
		return nil
	}
	tmp := c.path(m.ULID) + durable.TmpSuffix
	if err := os.WriteFile(tmp, cacheFile(content, written), 0o666); err != nil {
		return errors.Join(err, durable.RemoveIfThere(tmp))
	}
	return os.Rename(tmp, c.path(m.ULID))
}

func (c *metaCache) putMemory(m *Meta, written time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.metas[m.ULID] = cachedMeta{meta: m, written: written}
}

// retain forgets all blocks but those in keep, and what a crash left.
func (c *metaCache) retain(keep map[ulid.ULID]bool) error {
	c.mu.Lock()
	for id := range c.metas {
		if !keep[id] {
			delete(c.metas, id)
		}
	}
	c.mu.Unlock()
	if c.dir == "" {
		return nil
	}
	entries, err := os.ReadDir(c.dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		name, ours := strings.CutSuffix(strings.TrimSuffix(e.Name(), durable.TmpSuffix), cacheSuffix)
		id, ok := parseULID(name)
		if ours && ok && (!keep[id] || strings.HasSuffix(e.Name(), durable.TmpSuffix)) {
			errs = append(errs, durable.RemoveIfThere(filepath.Join(c.dir, e.Name())))
		}
	}
	return errors.Join(errs...)
}

func (c *metaCache) path(id ulid.ULID) string {
	return filepath.Join(c.dir, id.String()+cacheSuffix)
}

func cacheFile(content []byte, written time.Time) []byte {
	at := int64(0)
	if !written.IsZero() {
		at = written.UnixNano()
	}
	return append(cacheHeader(content, at), content...)
}

func openCacheFile(b []byte) (content []byte, written time.Time, ok bool) {
	i := bytes.IndexByte(b, '\n')
	content = b[i+1:]
	var at int64
	if _, err := fmt.Sscanf(string(b[:i+1]), "varve-meta 2 %d", &at); err != nil {
		return nil, time.Time{}, false
	}
	if at != 0 {
		written = time.Unix(0, at)
	}
	return content, written, bytes.Equal(b[:i+1], cacheHeader(content, at))
}

// cacheHeader is the first line of a file. The checksum covers the time too.
func cacheHeader(content []byte, at int64) []byte {
	line := fmt.Appendf(nil, "varve-meta 2 %d", at)
	table := crc32.MakeTable(crc32.Castagnoli)
	return fmt.Appendf(line, " %08x\n", crc32.Update(crc32.Checksum(line, table), table, content))
}
