package block

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/varve-tsdb/varve/objstore"
	"github.com/varve-tsdb/varve/objstore/objstoretest"
)

func uploadOptions() UploadOptions {
	return UploadOptions{Labels: testLabels(), Source: SourceTest, Concurrency: 1}
}

func TestUpload(t *testing.T) {
	dir, m := t.TempDir(), testMeta(1)
	m.Thanos.Extensions = []byte(`{"mine":true}`)
	path := writeTestBlock(t, dir, m, 2)
	must(t, os.WriteFile(filepath.Join(path, "tombstones"), []byte("local only"), 0o644))
	must(t, os.WriteFile(filepath.Join(path, ChunksDirname, "000003.tmp"), []byte("unfinished"), 0o644))
	mem := objstoretest.NewMemory()
	bkt := objstoretest.NewRecorder(mem)

	before := time.Now().Truncate(time.Millisecond)
	got, err := Upload(t.Context(), bkt, path, uploadOptions())
	must(t, err)

	id := m.ULID.String()
	if diff := cmp.Diff("iter "+id+"/\n"+
		"upload "+id+"/chunks/000001\nattributes "+id+"/chunks/000001\n"+
		"upload "+id+"/chunks/000002\nattributes "+id+"/chunks/000002\n"+
		"upload "+id+"/index\nattributes "+id+"/index\n"+
		"upload "+id+"/meta.json\nget "+id+"/meta.json\n", bkt.Lines()); diff != "" {
		t.Errorf("operations (-want +got):\n%s", diff)
	}
	remote, err := ReadMeta(t.Context(), mem, m.ULID)
	must(t, err)
	if diff := cmp.Diff(got, remote); diff != "" {
		t.Errorf("returned meta.json and that in the bucket differ:\n%s", diff)
	}
	want := *m
	want.Thanos = Thanos{
		Labels: testLabels().Map(), Source: SourceTest, Extensions: remote.Thanos.Extensions,
		SegmentFiles: []string{"000001", "000002"},
		Files: []File{
			{RelPath: "chunks/000001", SizeBytes: size(t, path, "chunks/000001")},
			{RelPath: "chunks/000002", SizeBytes: size(t, path, "chunks/000002")},
			{RelPath: "index", SizeBytes: size(t, path, "index")},
			{RelPath: "meta.json"},
		},
		UploadTime: remote.Thanos.UploadTime,
	}
	if diff := cmp.Diff(&want, remote); diff != "" {
		t.Errorf("meta.json (-want +got):\n%s", diff)
	}
	if up := remote.Thanos.UploadTime; up.Before(before) || time.Since(up) < 0 {
		t.Errorf("uploaded at %s, want between %s and now", up, before)
	}
	if local, err := ReadMetaDir(path); err != nil || cmp.Diff(m.Thanos.Labels, local.Thanos.Labels) != "" {
		t.Errorf("the local meta.json was changed: %v, %v", local, err)
	}
}

func size(t *testing.T, path, rel string) int64 {
	t.Helper()
	info, err := os.Stat(filepath.Join(path, rel))
	must(t, err)
	return info.Size()
}

// Labels and source of a block that has them stay unless they are given.
func TestUploadKeepsLabels(t *testing.T) {
	m := testMeta(1)
	m.Thanos.Labels = map[string]string{"own": "label"}
	m.Thanos.Source = SourceCompactor
	m.Thanos.Downsample.Resolution = 300_000
	path := writeTestBlock(t, t.TempDir(), m, 1)
	bkt := objstoretest.NewMemory()
	_, err := Upload(t.Context(), bkt, path, UploadOptions{})
	must(t, err)
	got, err := ReadMeta(t.Context(), bkt, m.ULID)
	must(t, err)
	if got.Labels().String() != `{own="label"}` || got.Thanos.Source != SourceCompactor || got.Resolution() != 5*time.Minute {
		t.Errorf("labels %s, source %s, resolution %s", got.Labels(), got.Thanos.Source, got.Resolution())
	}
}

func TestUploadRefuses(t *testing.T) {
	tests := map[string]struct {
		change func(t *testing.T, path string, o *UploadOptions)
		want   error
		text   string
	}{
		"no labels":      {func(_ *testing.T, _ string, o *UploadOptions) { o.Labels = o.Labels.MatchLabels(true) }, ErrNoExternalLabels, ""},
		"no index":       {remove(IndexFilename), ErrBroken, "index is missing"},
		"empty index":    {truncate(IndexFilename), ErrBroken, "index is empty"},
		"no chunks":      {remove(ChunksDirname), ErrBroken, "no chunk segments"},
		"gap in chunks":  {remove("chunks/000001"), ErrBroken, "000001 is missing"},
		"empty segment":  {truncate("chunks/000002"), ErrBroken, "chunks/000002 is empty"},
		"no meta":        {remove(MetaFilename), ErrMetaNotFound, ""},
		"empty meta":     {truncate(MetaFilename), ErrMetaInvalid, ""},
		"bad concurreny": {func(_ *testing.T, _ string, o *UploadOptions) { o.Concurrency = -1 }, nil, "UploadOptions.Concurrency is -1"},
		"size unlike meta.json": {func(t *testing.T, path string, _ *UploadOptions) {
			m, err := ReadMetaDir(path)
			must(t, err)
			m.Thanos.Files = []File{{RelPath: IndexFilename, SizeBytes: 5}}
			must(t, WriteMetaDir(path, m))
		}, ErrBroken, "index has"},
		"file of meta.json missing": {func(t *testing.T, path string, _ *UploadOptions) {
			m, err := ReadMetaDir(path)
			must(t, err)
			m.Thanos.Files = []File{{RelPath: "chunks/000003", SizeBytes: 5}}
			must(t, WriteMetaDir(path, m))
		}, ErrBroken, "chunks/000003 is missing"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			path := writeTestBlock(t, t.TempDir(), testMeta(1), 2)
			opts := uploadOptions()
			test.change(t, path, &opts)
			bkt := objstoretest.NewRecorder(objstoretest.NewMemory())
			_, err := Upload(t.Context(), bkt, path, opts)
			if test.want != nil {
				wantErrorIs(t, err, test.want)
				wantText(t, err, testID(1).String())
			}
			wantText(t, err, test.text)
			if log := bkt.Lines(); log != "" {
				t.Errorf("the bucket was used:\n%s", log)
			}
		})
	}
}

func remove(rel string) func(*testing.T, string, *UploadOptions) {
	return func(t *testing.T, path string, _ *UploadOptions) { must(t, os.RemoveAll(filepath.Join(path, rel))) }
}

func truncate(rel string) func(*testing.T, string, *UploadOptions) {
	return func(t *testing.T, path string, _ *UploadOptions) { must(t, os.Truncate(filepath.Join(path, rel), 0)) }
}

// Whatever operation fails, and however: there is no meta.json afterwards, or
// nothing at all; a second attempt makes the block whole.
func TestUploadFails(t *testing.T) {
	faults := map[string]objstoretest.Fault{
		"fail": objstoretest.Fail(errOutage), "lost answer": objstoretest.Lose(errOutage),
		"truncated": objstoretest.Truncate(3), "broken off": objstoretest.Break(3, errOutage),
	}
	for name, fault := range faults {
		for _, keep := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, keep %t", name, keep), func(t *testing.T) {
				for n := 0; n < 9; n++ {
					testUploadFault(t, fault, n, keep)
				}
			})
		}
	}
}

func testUploadFault(t *testing.T, fault objstoretest.Fault, n int, keep bool) {
	t.Helper()
	dir, m := t.TempDir(), testMeta(1)
	path := writeTestBlock(t, dir, m, 2)
	mem := objstoretest.NewMemory()
	bkt := objstoretest.NewFaulty(mem)
	bkt.Set(objstoretest.Rule{Skip: n, Times: 1, Fault: fault})
	opts := uploadOptions()
	opts.KeepPartial = keep
	_, err := Upload(t.Context(), bkt, path, opts)
	if err == nil {
		// The fault struck an operation that it does not fit.
		wantComplete(t, mem.Objects(), dir, m)
		return
	}
	wantText(t, err, m.ULID.String(), dir)
	if slices.Contains(mem.Names(), MetaObject(m.ULID)) {
		t.Fatalf("operation %d failed (%v) and left a meta.json", n, err)
	}
	if names := mem.Names(); !keep && len(names) != 0 {
		t.Fatalf("operation %d failed (%v) and left %v", n, err, names)
	}
	if names := mem.Names(); keep && n > 3 && len(names) == 0 {
		t.Fatalf("operation %d failed (%v) and nothing was kept", n, err)
	}
	bkt.Set()
	_, err = Upload(t.Context(), bkt, path, opts)
	must(t, err)
	wantComplete(t, mem.Objects(), dir, m)
}

// An upload goes on from what an earlier one left, and sends again only what
// is missing or has the wrong size.
func TestUploadResumes(t *testing.T) {
	dir, m := t.TempDir(), testMeta(1)
	path := writeTestBlock(t, dir, m, 3)
	mem := objstoretest.NewMemory()
	bkt := objstoretest.NewRecorder(mem)
	first, err := os.ReadFile(filepath.Join(path, "chunks/000001"))
	must(t, err)
	mem.Put(ChunksObject(m.ULID, 1), first)
	mem.Put(ChunksObject(m.ULID, 2), []byte("half"))
	_, err = Upload(t.Context(), bkt, path, uploadOptions())
	must(t, err)
	wantComplete(t, mem.Objects(), dir, m)
	id := m.ULID.String()
	want := "upload " + id + "/chunks/000002\nupload " + id + "/chunks/000003\nupload " + id + "/index\nupload " + id + "/meta.json\n"
	if diff := cmp.Diff(want, bkt.Lines(objstore.OpUpload)); diff != "" {
		t.Errorf("uploads (-want +got):\n%s", diff)
	}
}

// A complete block is not touched by another upload, whatever fails meanwhile.
func TestUploadOfCompleteBlock(t *testing.T) {
	path := writeTestBlock(t, t.TempDir(), testMeta(1), 2)
	mem := objstoretest.NewMemory()
	first, err := Upload(t.Context(), mem, path, uploadOptions())
	must(t, err)
	before := mem.Objects()

	opts := uploadOptions()
	opts.Source = SourceCompactor
	rec := objstoretest.NewRecorder(mem)
	got, err := Upload(t.Context(), rec, path, opts)
	must(t, err)
	if diff := cmp.Diff(first, got); diff != "" {
		t.Errorf("meta.json (-in the bucket +returned):\n%s", diff)
	}
	if log := rec.Lines(objstore.OpUpload, objstore.OpDelete); log != "" {
		t.Errorf("the bucket was changed:\n%s", log)
	}
	for _, op := range []string{objstore.OpUpload, objstore.OpGet, objstore.OpAttributes, objstore.OpIter} {
		for skip := range 4 {
			bkt := objstoretest.NewFaulty(mem)
			bkt.Set(objstoretest.Rule{Op: op, Skip: skip, Times: 1, Fault: objstoretest.Fail(errOutage)})
			if _, err := Upload(t.Context(), bkt, path, opts); err != nil {
				wantErrorIs(t, err, errOutage)
			}
			if diff := cmp.Diff(before, mem.Objects()); diff != "" {
				t.Fatalf("%s %d failed, and the bucket changed (-before +after):\n%s", op, skip, diff)
			}
		}
	}
}

// What a failed upload did not send is not its to remove.
func TestUploadCleansUpAfterItselfOnly(t *testing.T) {
	path := writeTestBlock(t, t.TempDir(), testMeta(1), 3)
	mem := objstoretest.NewMemory()
	first, err := os.ReadFile(filepath.Join(path, "chunks/000001"))
	must(t, err)
	mem.Put(ChunksObject(testID(1), 1), first)
	mem.Put(object(testID(1), "notes.txt"), []byte("somebody's"))
	before := mem.Objects()
	bkt := objstoretest.NewFaulty(mem)
	bkt.Set(objstoretest.Rule{Op: objstore.OpUpload, Name: MetaFilename, Fault: objstoretest.Lose(errOutage)})
	_, err = Upload(t.Context(), bkt, path, uploadOptions())
	wantErrorIs(t, err, errOutage)
	if diff := cmp.Diff(before, mem.Objects()); diff != "" {
		t.Errorf("the bucket changed (-before +after):\n%s", diff)
	}
}

// A meta.json over missing objects goes before anything else changes.
func TestUploadTakesMetaAwayFirst(t *testing.T) {
	dir, m := t.TempDir(), testMeta(1)
	path := writeTestBlock(t, dir, m, 1)
	mem := objstoretest.NewMemory()
	_, err := Upload(t.Context(), mem, path, uploadOptions())
	must(t, err)
	must(t, mem.Delete(t.Context(), ChunksObject(m.ULID, 1)))

	bkt := objstoretest.NewRecorder(mem)
	_, err = Upload(t.Context(), bkt, path, uploadOptions())
	must(t, err)
	wantComplete(t, mem.Objects(), dir, m)
	id := m.ULID.String()
	want := "delete " + id + "/meta.json\nupload " + id + "/chunks/000001\nupload " + id + "/meta.json\n"
	if diff := cmp.Diff(want, bkt.Lines(objstore.OpUpload, objstore.OpDelete)); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
}

func TestUploadWaitsForDeletion(t *testing.T) {
	path := writeTestBlock(t, t.TempDir(), testMeta(1), 1)
	mem := objstoretest.NewMemory()
	_, err := MarkForDeletion(t.Context(), mem, testID(1), "")
	must(t, err)
	_, err = Upload(t.Context(), mem, path, uploadOptions())
	wantErrorIs(t, err, ErrBeingDeleted)
	wantText(t, err, testID(1).String())
	if names := mem.Names(); len(names) != 1 {
		t.Errorf("the bucket has %v, want the mark alone", names)
	}
}

// A canceled upload cleans up all the same.
func TestUploadCanceled(t *testing.T) {
	path := writeTestBlock(t, t.TempDir(), testMeta(1), 1)
	mem := objstoretest.NewMemory()
	bkt := objstoretest.NewFaulty(mem)
	bkt.Set(objstoretest.Rule{Op: objstore.OpUpload, Name: IndexFilename, Fault: objstoretest.Stall()})
	ctx, cancel := context.WithCancelCause(t.Context())
	done := make(chan error)
	go func() {
		_, err := Upload(ctx, bkt, path, uploadOptions())
		done <- err
	}()
	for bkt.Struck() == 0 {
		time.Sleep(time.Millisecond)
	}
	cancel(errors.New("enough"))
	wantErrorIs(t, <-done, context.Canceled)
	if names := mem.Names(); len(names) != 0 {
		t.Errorf("a canceled upload left %v", names)
	}
}

// Segments beyond the concurrency wait, and all get there.
func TestUploadManySegments(t *testing.T) {
	dir, m := t.TempDir(), testMeta(1)
	path := writeTestBlock(t, dir, m, 20)
	mem := objstoretest.NewMemory()
	opts := uploadOptions()
	opts.Concurrency = 0
	_, err := Upload(t.Context(), mem, path, opts)
	must(t, err)
	wantComplete(t, mem.Objects(), dir, m)
}
