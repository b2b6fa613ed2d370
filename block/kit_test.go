package block

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/oklog/ulid/v2"
	"github.com/prometheus/prometheus/model/labels"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errOutage = errors.New("the bucket is away")

// testID returns a ULID that was made n minutes after the beginning of 2025.
func testID(n int) ulid.ULID {
	var id ulid.ULID
	at := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(n) * time.Minute)
	if err := id.SetTime(ulid.Timestamp(at)); err != nil {
		panic(err)
	}
	id[15] = byte(n)
	return id
}

func testLabels() labels.Labels {
	return labels.FromStrings("cluster", "eu-1", "tenant_id", "acme")
}

// testMeta is a level-1 block over the n-th hour.
func testMeta(n int) *Meta {
	const hour = int64(time.Hour / time.Millisecond)
	id := testID(n)
	return &Meta{
		ULID: id, MinTime: int64(n) * hour, MaxTime: int64(n+1) * hour, Version: Version1,
		Stats:      Stats{NumSamples: 120, NumSeries: 1, NumChunks: 1},
		Compaction: Compaction{Level: 1, Sources: []ulid.ULID{id}},
	}
}

// writeTestBlock writes a block with the given number of segments below dir,
// and returns its directory. Contents differ from block to block.
func writeTestBlock(t testing.TB, dir string, m *Meta, segments int) string {
	t.Helper()
	path := filepath.Join(dir, m.ULID.String())
	must(t, os.MkdirAll(filepath.Join(path, ChunksDirname), 0o755))
	write := func(rel, content string) {
		must(t, os.WriteFile(filepath.Join(path, rel), []byte(content), 0o644))
	}
	for i := 1; i <= segments; i++ {
		name := SegmentName(i)
		write(filepath.Join(ChunksDirname, name), strings.Repeat(fmt.Sprintf("chunks %s of %s. ", name, m.ULID), i))
	}
	write(IndexFilename, "index of "+m.ULID.String())
	must(t, WriteMetaDir(path, m))
	return path
}

// blockFiles reads the chunks and index below a directory named by a ULID, by
// the names they have in a bucket.
func blockFiles(t testing.TB, path string) map[string]string {
	t.Helper()
	files := map[string]string{}
	must(t, filepath.WalkDir(path, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(filepath.Dir(path), name)
		if err != nil {
			return err
		}
		b, err := os.ReadFile(name)
		if d.Name() != MetaFilename {
			files[filepath.ToSlash(rel)] = string(b)
		}
		return err
	}))
	return files
}

// wantComplete fails unless the objects, apart from the index of the bucket, are
// exactly the blocks in dir, each whole, with the labels of testLabels.
func wantComplete(t testing.TB, objects map[string][]byte, dir string, metas ...*Meta) {
	t.Helper()
	want := map[string]string{}
	for _, m := range metas {
		maps.Copy(want, blockFiles(t, filepath.Join(dir, m.ULID.String())))
	}
	objects = maps.Clone(objects)
	maps.DeleteFunc(objects, func(name string, _ []byte) bool { return strings.HasPrefix(name, bucketIndexDir) })
	got := map[string]string{}
	for name, content := range objects {
		if !strings.HasSuffix(name, "/"+MetaFilename) {
			got[name] = string(content)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("objects in the bucket (-want +got):\n%s", diff)
	}
	for _, local := range metas {
		m, err := parseMetaOf(local.ULID, objects[MetaObject(local.ULID)])
		if err != nil {
			t.Fatalf("meta.json of %s in the bucket: %v", local.ULID, err)
		}
		if diff := cmp.Diff(testLabels().Map(), m.Thanos.Labels); diff != "" {
			t.Fatalf("labels of %s (-want +got):\n%s", m.ULID, diff)
		}
		for _, f := range m.Thanos.Files {
			if f.RelPath != MetaFilename && f.SizeBytes != int64(len(objects[object(m.ULID, f.RelPath)])) {
				t.Fatalf("meta.json lists %d bytes for %s, the bucket has %d", f.SizeBytes, f.RelPath, len(objects[object(m.ULID, f.RelPath)]))
			}
		}
	}
	if n := len(objects) - len(got); n != len(metas) {
		t.Fatalf("%d meta.json in the bucket, want %d", n, len(metas))
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantErrorIs(t testing.TB, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Fatalf("error is %v, want one that is %q", err, target)
	}
}

// wantText fails unless the error's text contains all of parts.
func wantText(t testing.TB, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one that mentions %q", parts)
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			t.Errorf("error %q does not mention %q", err, p)
		}
	}
}

func idsOf(metas []*Meta) []ulid.ULID {
	var ids []ulid.ULID
	for _, m := range metas {
		ids = append(ids, m.ULID)
	}
	return ids
}

func sortedIDs(set map[ulid.ULID]bool) []ulid.ULID {
	return slices.SortedFunc(maps.Keys(set), ulid.ULID.Compare)
}
