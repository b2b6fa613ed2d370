package block

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/varve-tsdb/varve/objstore"
	"github.com/varve-tsdb/varve/objstore/objstoretest"
)

// uploaded returns a bucket with a block, and the block's local directory.
func uploaded(t *testing.T, segments int) (*objstoretest.Memory, string) {
	t.Helper()
	path := writeTestBlock(t, t.TempDir(), testMeta(1), segments)
	bkt := objstoretest.NewMemory()
	_, err := Upload(t.Context(), bkt, path, uploadOptions())
	must(t, err)
	return bkt, path
}

func wantDownloaded(t *testing.T, bkt *objstoretest.Memory, from, parent string) {
	t.Helper()
	path := filepath.Join(parent, filepath.Base(from))
	if diff := cmp.Diff(blockFiles(t, from), blockFiles(t, path)); diff != "" {
		t.Fatalf("files (-uploaded +downloaded):\n%s", diff)
	}
	meta, err := os.ReadFile(filepath.Join(path, MetaFilename))
	must(t, err)
	if diff := cmp.Diff(string(bkt.Objects()[MetaObject(testID(1))]), string(meta)); diff != "" {
		t.Fatalf("meta.json (-bucket +downloaded):\n%s", diff)
	}
}

func TestDownload(t *testing.T) {
	bkt, from := uploaded(t, 3)
	parent := t.TempDir()
	m, err := Download(t.Context(), bkt, testID(1), parent, DownloadOptions{})
	must(t, err)
	wantDownloaded(t, bkt, from, parent)
	if m.ULID != testID(1) || len(m.Thanos.Files) != 5 {
		t.Errorf("got meta %+v", m)
	}
	// The second time only meta.json is read.
	rec := objstoretest.NewRecorder(bkt)
	_, err = Download(t.Context(), rec, testID(1), parent, DownloadOptions{})
	must(t, err)
	if diff := cmp.Diff("get "+MetaObject(testID(1))+"\n", rec.Lines()); diff != "" {
		t.Errorf("operations (-want +got):\n%s", diff)
	}
}

// Blocks of older writers list no files.
func TestDownloadWithoutFileList(t *testing.T) {
	bkt, from := uploaded(t, 2)
	m, err := ReadMeta(t.Context(), bkt, testID(1))
	must(t, err)
	m.Thanos.Files, m.Thanos.SegmentFiles = nil, nil
	b, err := m.Encode()
	must(t, err)
	bkt.Put(MetaObject(testID(1)), b)
	bkt.Put(MarkObject(testID(1), NoCompactMark), []byte("{}"))
	parent := t.TempDir()
	_, err = Download(t.Context(), bkt, testID(1), parent, DownloadOptions{})
	must(t, err)
	wantDownloaded(t, bkt, from, parent)
}

// Cut anywhere, there is no local block; repeated, it goes on.
func TestDownloadCrash(t *testing.T) {
	bkt, from := uploaded(t, 2)
	for n := 0; ; n++ {
		parent := t.TempDir()
		_, err := Download(t.Context(), objstoretest.NewCrashing(bkt, n), testID(1), parent, DownloadOptions{Concurrency: 1})
		if err == nil {
			if n < 4 {
				t.Fatalf("done after %d operations", n)
			}
			return
		}
		if _, err := ReadMetaDir(filepath.Join(parent, testID(1).String())); err == nil {
			t.Fatalf("cut after %d operations: there is a meta.json", n)
		}
		rec := objstoretest.NewRecorder(bkt)
		_, err = Download(t.Context(), rec, testID(1), parent, DownloadOptions{})
		must(t, err)
		wantDownloaded(t, bkt, from, parent)
		if got, want := len(rec.Log()), 1+min(3, 4-n); got > want {
			t.Errorf("cut after %d operations, going on took %d, want at most %d:\n%s", n, got, want, rec.Lines())
		}
	}
}

func TestDownloadOfBrokenBlocks(t *testing.T) {
	chunks := ChunksObject(testID(1), 2)
	tests := map[string]struct {
		harm func(t *testing.T, bkt *objstoretest.Memory, faulty *objstoretest.Faulty)
		want error
		text string
	}{
		"missing": {func(t *testing.T, bkt *objstoretest.Memory, _ *objstoretest.Faulty) {
			must(t, bkt.Delete(t.Context(), chunks))
		}, ErrBroken, chunks + " is missing"},
		"truncated object": {func(_ *testing.T, bkt *objstoretest.Memory, _ *objstoretest.Faulty) {
			bkt.Put(chunks, []byte("half"))
		}, ErrBroken, chunks + " has 4 bytes"},
		"truncated transfer": {func(_ *testing.T, _ *objstoretest.Memory, f *objstoretest.Faulty) {
			f.Set(objstoretest.Rule{Name: chunks, Fault: objstoretest.Truncate(3)})
		}, ErrBroken, chunks + " has 3 bytes"},
		"outage": {func(_ *testing.T, _ *objstoretest.Memory, f *objstoretest.Faulty) {
			f.Set(objstoretest.Rule{Name: chunks, Fault: objstoretest.Break(3, errOutage)})
		}, errOutage, chunks},
		"no meta": {func(t *testing.T, bkt *objstoretest.Memory, _ *objstoretest.Faulty) {
			must(t, bkt.Delete(t.Context(), MetaObject(testID(1))))
		}, ErrMetaNotFound, ""},
		"truncated meta": {func(_ *testing.T, bkt *objstoretest.Memory, _ *objstoretest.Faulty) {
			bkt.Put(MetaObject(testID(1)), []byte("{"))
		}, ErrMetaInvalid, ""},
		"truncated transfer of meta": {func(_ *testing.T, _ *objstoretest.Memory, f *objstoretest.Faulty) {
			f.Set(objstoretest.Rule{Name: MetaFilename, Fault: objstoretest.Truncate(3)})
		}, objstore.ErrTruncated, ""},
		"flipped bit under a checksum": {func(t *testing.T, bkt *objstoretest.Memory, f *objstoretest.Faulty) {
			editMeta(t, bkt, func(m *Meta) {
				sum := sha256.Sum256(bkt.Objects()[chunks])
				m.Thanos.Files[1].Hash = &FileHash{Func: HashSHA256, Value: hex.EncodeToString(sum[:])}
			})
			f.Set(objstoretest.Rule{Name: chunks, Fault: objstoretest.Flip(2)})
		}, ErrBroken, "SHA-256"},
		"path out of the block": {func(t *testing.T, bkt *objstoretest.Memory, _ *objstoretest.Faulty) {
			editMeta(t, bkt, func(m *Meta) { m.Thanos.Files[0].RelPath = "../../etc/passwd" })
		}, ErrMetaInvalid, `"../../etc/passwd"`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			bkt, _ := uploaded(t, 3)
			faulty := objstoretest.NewFaulty(bkt)
			test.harm(t, bkt, faulty)
			parent := t.TempDir()
			_, err := Download(t.Context(), faulty, testID(1), parent, DownloadOptions{})
			wantErrorIs(t, err, test.want)
			wantText(t, err, testID(1).String(), test.text)
			if _, err := ReadMetaDir(filepath.Join(parent, testID(1).String())); err == nil {
				t.Error("the broken block is there as if it were whole")
			}
			left, err := filepath.Glob(filepath.Join(parent, "*", "*", "*.tmp"))
			must(t, err)
			if len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

func editMeta(t *testing.T, bkt *objstoretest.Memory, edit func(*Meta)) {
	t.Helper()
	m, err := ReadMeta(t.Context(), bkt, testID(1))
	must(t, err)
	edit(m)
	b, err := m.Encode()
	must(t, err)
	bkt.Put(MetaObject(testID(1)), b)
}

// Of an object that is too large no more is read than shows it.
func TestDownloadOfOversizedObject(t *testing.T) {
	bkt, from := uploaded(t, 1)
	want := size(t, from, IndexFilename)
	bkt.Put(IndexObject(testID(1)), make([]byte, 1<<20))
	rec := objstoretest.NewRecorder(bkt)
	parent := t.TempDir()
	_, err := Download(t.Context(), rec, testID(1), parent, DownloadOptions{})
	wantErrorIs(t, err, ErrBroken)
	wantText(t, err, IndexObject(testID(1))+" has more than the")
	for _, o := range rec.Log() {
		if o.Name == IndexObject(testID(1)) && o.Bytes > want+1 {
			t.Errorf("read %d bytes of an index that should have %d", o.Bytes, want)
		}
	}
	if _, err := os.Stat(filepath.Join(parent, testID(1).String(), IndexFilename)); err == nil {
		t.Error("the oversized index was kept")
	}
}

// A local copy that has changed is fetched again.
func TestDownloadRepairs(t *testing.T) {
	bkt, from := uploaded(t, 2)
	parent := t.TempDir()
	get := func() {
		t.Helper()
		_, err := Download(t.Context(), bkt, testID(1), parent, DownloadOptions{})
		must(t, err)
		wantDownloaded(t, bkt, from, parent)
	}
	get()
	must(t, os.Truncate(filepath.Join(parent, testID(1).String(), "chunks/000002"), 4))
	get()
	must(t, os.WriteFile(filepath.Join(parent, testID(1).String(), MetaFilename), []byte("{}"), 0o644))
	get()
}

func TestCheckRelPath(t *testing.T) {
	for rel, ok := range map[string]bool{
		"index": true, "chunks/000001": true, "new/thing.bin": true,
		"": false, ".": false, "..": false, "../x": false, "/etc/passwd": false, "a/../../b": false, "a/../b": false,
		`..\x`: false, "chunks/": false,
	} {
		if err := checkRelPath(testID(1), rel); (err == nil) != ok {
			t.Errorf("%q: %v, want ok %t", rel, err, ok)
		}
	}
}
