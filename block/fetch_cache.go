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

	"github.com/oklog/ulid/v2"

	"github.com/varve-tsdb/varve/internal/durable"
)

// metaCache keeps metas, which never change while a block lives, in memory
// and, if it has a directory, on disk. It is safe for concurrent use.
//
// A file is named <ULID>.meta and holds a line with a version and a checksum,
// then the bytes of meta.json. A file that fails the check is as good as none,
// which is why none is synced: a thousand syncs would be the slowest part of a
// first start.
type metaCache struct {
	dir string // empty: memory only

	mu    sync.Mutex // guards metas
	metas map[ulid.ULID]*Meta
}

const cacheSuffix = ".meta"

func openMetaCache(dir string) (*metaCache, error) {
	if dir != "" {
		if err := os.MkdirAll(dir, 0o777); err != nil {
			return nil, fmt.Errorf("open cache of metas: %w", err)
		}
	}
	return &metaCache{dir: dir, metas: map[ulid.ULID]*Meta{}}, nil
}

// get returns a meta and whether it came from memory or disk, or nil.
func (c *metaCache) get(id ulid.ULID) (m *Meta, from string) {
	c.mu.Lock()
	m = c.metas[id]
	c.mu.Unlock()
	if m != nil {
		return m, "memory"
	}
	if c.dir == "" {
		return nil, ""
	}
	b, err := os.ReadFile(c.path(id))
	if err != nil {
		return nil, ""
	}
	content, ok := openCacheFile(b)
	if !ok {
		return nil, ""
	}
	m, err = parseMetaOf(id, content)
	if err != nil {
		return nil, ""
	}
	c.putMemory(m)
	return m, "disk"
}

// put remembers a meta. An error means that the disk does not have it; memory
// does in any case.
func (c *metaCache) put(m *Meta, content []byte) error {
	c.putMemory(m)
	if c.dir == "" {
		return nil
	}
	tmp := c.path(m.ULID) + durable.TmpSuffix
	if err := os.WriteFile(tmp, cacheFile(content), 0o666); err != nil {
		return errors.Join(err, durable.RemoveIfThere(tmp))
	}
	return os.Rename(tmp, c.path(m.ULID))
}

func (c *metaCache) putMemory(m *Meta) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.metas[m.ULID] = m
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

func cacheFile(content []byte) []byte {
	return append(cacheHeader(content), content...)
}

func openCacheFile(b []byte) (content []byte, ok bool) {
	i := bytes.IndexByte(b, '\n')
	content = b[i+1:]
	return content, i >= 0 && bytes.Equal(b[:i+1], cacheHeader(content))
}

func cacheHeader(content []byte) []byte {
	sum := crc32.Checksum(content, crc32.MakeTable(crc32.Castagnoli))
	return fmt.Appendf(nil, "varve-meta 1 %08x\n", sum)
}
