package blocktest

import (
	"context"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/thanos-io/objstore"
)

// writeMeta rewrites the meta.json that the compactor left in dir as a block
// in a bucket carries it.
func writeMeta(tb testing.TB, dir string, id ulid.ULID, b Block) {
	tb.Helper()
	name := filepath.Join(dir, "meta.json")
	raw, err := os.ReadFile(name)
	if err != nil {
		tb.Fatalf("blocktest: %v", err)
	}
	meta := map[string]any{}
	if err := json.Unmarshal(raw, &meta); err != nil {
		tb.Fatalf("blocktest: %v", err)
	}
	sources := b.Sources
	if sources == nil {
		sources = []ulid.ULID{id}
	}
	source := b.Source
	if source == "" {
		source = "test"
	}
	external := map[string]string{}
	b.External.Range(func(l labels.Label) { external[l.Name] = l.Value })
	meta["ulid"] = id.String()
	meta["compaction"] = map[string]any{"level": max(b.Level, 1), "sources": sources}
	meta["thanos"] = map[string]any{
		"labels":      external,
		"downsample":  map[string]any{"resolution": b.Resolution},
		"source":      source,
		"files":       metaFiles(tb, dir),
		"index_stats": map[string]any{},
		"upload_time": time.Now().UTC(),
	}
	raw, err = json.MarshalIndent(meta, "", "\t")
	if err != nil {
		tb.Fatalf("blocktest: %v", err)
	}
	if err := os.WriteFile(name, raw, 0o666); err != nil {
		tb.Fatalf("blocktest: %v", err)
	}
}

func metaFiles(tb testing.TB, dir string) []map[string]any {
	tb.Helper()
	files := []map[string]any{{"rel_path": "meta.json"}}
	for _, name := range objectNames(tb, dir) {
		if name == "meta.json" {
			continue
		}
		info, err := os.Stat(filepath.Join(dir, filepath.FromSlash(name)))
		if err != nil {
			tb.Fatalf("blocktest: %v", err)
		}
		files = append(files, map[string]any{"rel_path": name, "size_bytes": info.Size()})
	}
	sort.Slice(files, func(i, j int) bool { return files[i]["rel_path"].(string) < files[j]["rel_path"].(string) })
	return files
}

// objectNames lists what of the block in dir belongs into a bucket, meta.json
// last, the rest in order. Tombstones stay behind.
func objectNames(tb testing.TB, dir string) []string {
	tb.Helper()
	var names []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		if rel = filepath.ToSlash(rel); rel != "meta.json" && rel != "tombstones" {
			names = append(names, rel)
		}
		return nil
	})
	if err != nil {
		tb.Fatalf("blocktest: %v", err)
	}
	sort.Strings(names)
	return append(names, "meta.json")
}

// Upload puts the block directory <dir>/<id> into bkt, meta.json last.
func Upload(tb testing.TB, bkt objstore.Bucket, dir string, id ulid.ULID) {
	tb.Helper()
	root := filepath.Join(dir, id.String())
	for _, name := range objectNames(tb, root) {
		f, err := os.Open(filepath.Join(root, filepath.FromSlash(name)))
		if err != nil {
			tb.Fatalf("blocktest: %v", err)
		}
		err = bkt.Upload(context.Background(), id.String()+"/"+name, f)
		f.Close()
		if err != nil {
			tb.Fatalf("blocktest: upload %s: %v", name, err)
		}
	}
}

// Put writes b into a directory of its own and uploads it.
func Put(tb testing.TB, bkt objstore.Bucket, b Block) ulid.ULID {
	tb.Helper()
	dir := tb.TempDir()
	id := Write(tb, dir, b)
	Upload(tb, bkt, dir, id)
	return id
}

// Remove deletes every object of the block id from bkt, meta.json first.
func Remove(tb testing.TB, bkt objstore.Bucket, id ulid.ULID) {
	tb.Helper()
	ctx := context.Background()
	names := []string{id.String() + "/meta.json"}
	err := bkt.Iter(ctx, id.String()+"/", func(name string) error {
		if name != names[0] {
			names = append(names, name)
		}
		return nil
	}, objstore.WithRecursiveIter())
	if err != nil {
		tb.Fatalf("blocktest: list %s: %v", id, err)
	}
	for _, name := range names {
		if err := bkt.Delete(ctx, name); err != nil {
			tb.Fatalf("blocktest: delete %s: %v", name, err)
		}
	}
}
