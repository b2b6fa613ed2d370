package block

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/oklog/ulid/v2"

	"github.com/varve-tsdb/varve/objstore"
	"github.com/varve-tsdb/varve/objstore/objstoretest"
)

func newTestShipper(t testing.TB, bkt objstore.Bucket, src Source, opts ShipperOptions) *Shipper {
	t.Helper()
	if opts.UploadConcurrency == 0 {
		opts.UploadConcurrency = 1
	}
	s, err := NewShipper(bkt, src, opts)
	must(t, err)
	return s
}

// ship makes one pass of a new Shipper over dir.
func ship(t testing.TB, bkt objstore.Bucket, dir string, opts ShipperOptions) error {
	t.Helper()
	return newTestShipper(t, bkt, Dirs{dir: testLabels()}, opts).Ship(t.Context())
}

func wantShipped(t testing.TB, dir string, want ...ulid.ULID) {
	t.Helper()
	got, err := ReadShipped(dir)
	must(t, err)
	slices.SortFunc(want, ulid.ULID.Compare)
	if diff := cmp.Diff(want, sortedIDs(got)); diff != "" {
		t.Fatalf("%s of %s (-want +got):\n%s", ShipperFilename, dir, diff)
	}
}

// wantTidy fails if a pass left anything beside the blocks and its record.
func wantTidy(t testing.TB, dir string) {
	t.Helper()
	staged, err := os.ReadDir(stageOf(dir).dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	if len(staged) != 0 {
		t.Errorf("staged files are left: %v", staged)
	}
	tmp, err := filepath.Glob(filepath.Join(dir, "*.tmp"))
	must(t, err)
	if len(tmp) != 0 {
		t.Errorf("temporary files are left: %v", tmp)
	}
}

func TestShip(t *testing.T) {
	dir := t.TempDir()
	a, b, c := testMeta(1), testMeta(2), testMeta(3)
	a.MinTime, a.MaxTime = 100, 200 // made first, but of the latest time
	b.MinTime, b.MaxTime = 0, 50
	c.MinTime, c.MaxTime = 50, 100
	for _, m := range []*Meta{a, b, c} {
		writeTestBlock(t, dir, m, 2)
	}
	for _, name := range []string{"wal", "chunks_head", testID(4).String() + ".tmp-for-creation"} {
		must(t, os.Mkdir(filepath.Join(dir, name), 0o755))
	}
	mem := objstoretest.NewMemory()
	bkt := objstoretest.NewRecorder(mem)
	var log bytes.Buffer
	s := newTestShipper(t, bkt, Dirs{dir: testLabels()}, ShipperOptions{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	must(t, s.Ship(t.Context()))

	wantComplete(t, mem.Objects(), dir, a, b, c)
	wantShipped(t, dir, a.ULID, b.ULID, c.ULID)
	wantTidy(t, dir)
	var order []string
	for _, o := range bkt.Log() {
		if o.Op == objstore.OpUpload && strings.HasSuffix(o.Name, MetaFilename) {
			order = append(order, o.Name)
		}
	}
	if diff := cmp.Diff([]string{MetaObject(b.ULID), MetaObject(c.ULID), MetaObject(a.ULID)}, order); diff != "" {
		t.Errorf("order of the blocks (-want +got):\n%s", diff)
	}
	m, err := ReadMeta(t.Context(), mem, a.ULID)
	must(t, err)
	if m.Thanos.Source != SourceReceive {
		t.Errorf("source %q", m.Thanos.Source)
	}
	if lines := strings.Count(log.String(), "\n"); lines != 3 || strings.Count(log.String(), "shipped a block") != 3 {
		t.Errorf("want one line of log for each block, got\n%s", log.String())
	}

	// A second pass asks the bucket nothing, nor does one after a restart.
	bkt.Reset()
	must(t, s.Ship(t.Context()))
	must(t, ship(t, bkt, dir, ShipperOptions{}))
	if got := bkt.Lines(); got != "" {
		t.Errorf("requests for blocks that are done:\n%s", got)
	}
}

// What is in the bucket counts only when it is whole.
func TestShipChecksTheBucket(t *testing.T) {
	m := testMeta(1)
	tests := map[string]struct {
		harm   func(t *testing.T, mem *objstoretest.Memory)
		resent bool
	}{
		"whole": {func(*testing.T, *objstoretest.Memory) {}, false},
		"truncated meta": {func(_ *testing.T, mem *objstoretest.Memory) {
			mem.Put(MetaObject(m.ULID), mem.Objects()[MetaObject(m.ULID)][:40])
		}, true},
		"empty meta": {func(_ *testing.T, mem *objstoretest.Memory) { mem.Put(MetaObject(m.ULID), nil) }, true},
		"missing segment": {func(t *testing.T, mem *objstoretest.Memory) {
			must(t, mem.Delete(t.Context(), ChunksObject(m.ULID, 2)))
		}, true},
		"missing index": {func(t *testing.T, mem *objstoretest.Memory) { must(t, mem.Delete(t.Context(), IndexObject(m.ULID))) }, true},
		"short index":   {func(_ *testing.T, mem *objstoretest.Memory) { mem.Put(IndexObject(m.ULID), []byte("x")) }, true},
		"missing meta":  {func(t *testing.T, mem *objstoretest.Memory) { must(t, mem.Delete(t.Context(), MetaObject(m.ULID))) }, true},
		"another size in meta": {func(t *testing.T, mem *objstoretest.Memory) {
			editMeta(t, mem, func(m *Meta) { m.Thanos.Files[0].SizeBytes++ })
		}, true},
		"no sizes in meta": {func(t *testing.T, mem *objstoretest.Memory) {
			editMeta(t, mem, func(m *Meta) { m.Thanos.Files = nil })
		}, false},
		"marked for deletion": {func(t *testing.T, mem *objstoretest.Memory) {
			_, err := MarkForDeletion(t.Context(), mem, m.ULID, "")
			must(t, err)
		}, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := writeTestBlock(t, dir, m, 2)
			mem := objstoretest.NewMemory()
			_, err := Upload(t.Context(), mem, path, uploadOptions())
			must(t, err)
			test.harm(t, mem)
			before := mem.Objects()

			must(t, ship(t, mem, dir, ShipperOptions{NoIndex: true}))
			wantShipped(t, dir, m.ULID)
			if test.resent {
				wantComplete(t, mem.Objects(), dir, m)
			} else if diff := cmp.Diff(before, mem.Objects()); diff != "" {
				t.Errorf("the bucket changed:\n%s", diff)
			}
		})
	}
}

// A block that was shipped and then replaced by a compactor stays away.
func TestShipLeavesReplacedBlocksAlone(t *testing.T) {
	dir := t.TempDir()
	writeTestBlock(t, dir, testMeta(1), 1)
	mem := objstoretest.NewMemory()
	must(t, ship(t, mem, dir, ShipperOptions{}))
	must(t, Delete(t.Context(), mem, testID(1)))
	writeTestBlock(t, dir, testMeta(2), 1)
	must(t, ship(t, mem, dir, ShipperOptions{}))
	wantComplete(t, mem.Objects(), dir, testMeta(2))

	// Blocks deleted locally go from the record, and only they.
	must(t, os.RemoveAll(filepath.Join(dir, testID(2).String())))
	must(t, ship(t, mem, dir, ShipperOptions{}))
	wantShipped(t, dir, testID(1))
}

// A deletion that was cut off holds its block back until it has ended.
func TestShipWaitsForDeletion(t *testing.T) {
	dir := t.TempDir()
	writeTestBlock(t, dir, testMeta(1), 1)
	writeTestBlock(t, dir, testMeta(2), 1)
	mem := objstoretest.NewMemory()
	_, err := MarkForDeletion(t.Context(), mem, testID(1), "")
	must(t, err)
	err = ship(t, mem, dir, ShipperOptions{})
	wantErrorIs(t, err, ErrBeingDeleted)
	wantText(t, err, testID(1).String(), dir)
	wantShipped(t, dir, testID(2))

	must(t, Delete(t.Context(), mem, testID(1)))
	must(t, ship(t, mem, dir, ShipperOptions{}))
	wantComplete(t, mem.Objects(), dir, testMeta(1), testMeta(2))
}

func TestShipSelection(t *testing.T) {
	dir := t.TempDir()
	compacted, empty := testMeta(1), testMeta(2)
	compacted.Compaction.Level = 2
	empty.Stats = Stats{}
	writeTestBlock(t, dir, compacted, 1)
	writeTestBlock(t, dir, empty, 0)
	writeTestBlock(t, dir, testMeta(3), 1)
	mem := objstoretest.NewMemory()
	must(t, ship(t, mem, dir, ShipperOptions{}))
	wantComplete(t, mem.Objects(), dir, testMeta(3))
	// The empty block needs no upload; the compacted one is somebody else's.
	wantShipped(t, dir, empty.ULID, testID(3))

	must(t, ship(t, mem, dir, ShipperOptions{UploadCompacted: true, MetaSource: SourceSidecar}))
	wantComplete(t, mem.Objects(), dir, compacted, testMeta(3))
	m, err := ReadMeta(t.Context(), mem, compacted.ULID)
	must(t, err)
	if m.Thanos.Source != SourceSidecar || m.Compaction.Level != 2 {
		t.Errorf("source %q, level %d", m.Thanos.Source, m.Compaction.Level)
	}
}

// The record of what was shipped may be lost, torn or anything.
func TestShipWithBrokenRecord(t *testing.T) {
	for name, content := range map[string]string{
		"empty": "", "torn": `{"version":1,"uploaded":["01J`, "not JSON": "\x00\x00\x00", "version": `{"version":2}`,
		"list": `[]`, "null": "null", "strange ids": `{"version":1,"uploaded":["x"]}`,
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			writeTestBlock(t, dir, testMeta(1), 1)
			mem := objstoretest.NewMemory()
			must(t, ship(t, mem, dir, ShipperOptions{}))
			writeTestBlock(t, dir, testMeta(2), 1)
			must(t, os.WriteFile(filepath.Join(dir, ShipperFilename), []byte(content), 0o644))
			if _, err := ReadShipped(dir); err == nil {
				t.Error("the broken record was read")
			}

			bkt := objstoretest.NewRecorder(mem)
			must(t, ship(t, bkt, dir, ShipperOptions{}))
			wantComplete(t, mem.Objects(), dir, testMeta(1), testMeta(2))
			wantShipped(t, dir, testID(1), testID(2))
			if strings.Contains(bkt.Lines(objstore.OpUpload), testID(1).String()) {
				t.Errorf("block 1 was sent again:\n%s", bkt.Lines())
			}
		})
	}
}

func TestShipRecordFormat(t *testing.T) {
	dir := t.TempDir()
	must(t, ship(t, objstoretest.NewMemory(), dir, ShipperOptions{}))
	want := "{\n\t\"version\": 1,\n\t\"uploaded\": []\n}"
	b, err := os.ReadFile(filepath.Join(dir, ShipperFilename))
	must(t, err)
	if string(b) != want {
		t.Errorf("%s, want %s", b, want)
	}
	if set, err := ReadShipped(t.TempDir()); err != nil || len(set) != 0 {
		t.Errorf("without a record: %v, %v", set, err)
	}
}

// Deleting a block while it is uploaded takes nothing from the upload.
func TestShipBlockDeletedMeanwhile(t *testing.T) {
	dir := t.TempDir()
	path := writeTestBlock(t, dir, testMeta(1), 2)
	copied := t.TempDir()
	writeTestBlock(t, copied, testMeta(1), 2)
	mem := objstoretest.NewMemory()
	bkt := objstoretest.NewFaulty(mem)
	held := make(chan struct{})
	bkt.Set(objstoretest.Rule{Op: objstore.OpUpload, Times: 1, Fault: objstoretest.Hold(held)})
	s := newTestShipper(t, bkt, Dirs{dir: testLabels()}, ShipperOptions{})
	done := make(chan error)
	go func() { done <- s.Ship(t.Context()) }()
	for bkt.Struck() == 0 {
		time.Sleep(time.Millisecond)
	}
	must(t, os.RemoveAll(path))
	close(held)
	must(t, <-done)
	wantComplete(t, mem.Objects(), copied, testMeta(1))
	wantTidy(t, dir)
	must(t, s.Ship(t.Context()))
	wantShipped(t, dir)
}

func TestShipperOptions(t *testing.T) {
	_, err := NewShipper(objstoretest.NewMemory(), Dirs{}, ShipperOptions{Interval: -1, Concurrency: -1, UploadConcurrency: -1, UploadTimeout: -1})
	wantText(t, err, "ShipperOptions.Interval is -1ns", "ShipperOptions.Concurrency is -1", "ShipperOptions.UploadConcurrency is -1",
		"ShipperOptions.UploadTimeout is -1ns")
}

// A block that is set aside while its turn comes is not in the bucket, and must
// not be taken for shipped when it is back: it may be deleted then.
func TestBlockThatComesBackIsShipped(t *testing.T) {
	dir := t.TempDir()
	first, second := testMeta(1), testMeta(2)
	writeTestBlock(t, dir, first, 1)
	block := writeTestBlock(t, dir, second, 1)
	mem := objstoretest.NewMemory()
	bkt := objstoretest.NewFaulty(mem)
	aside := func(string, string) bool {
		if !gone(block) {
			must(t, os.Rename(block, block+".broken"))
		}
		return false
	}
	bkt.Set(objstoretest.Rule{Op: objstore.OpUpload, Name: first.ULID.String(), Match: aside})
	s := newTestShipper(t, bkt, Dirs{dir: testLabels()}, ShipperOptions{})
	must(t, s.Ship(t.Context()))
	wantShipped(t, dir, first.ULID)
	wantTidy(t, dir)

	bkt.Set()
	must(t, os.Rename(block+".broken", block))
	must(t, s.Ship(t.Context()))
	wantShipped(t, dir, first.ULID, second.ULID)
	wantComplete(t, mem.Objects(), dir, first, second)
}
