package block

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/varve-tsdb/varve/objstore/objstoretest"
)

// The process dies after each operation in turn, in the middle of uploads too,
// and starts again over a bucket that is well.
func TestShipCrash(t *testing.T) {
	for _, tear := range []bool{false, true} {
		t.Run(fmt.Sprintf("tear %t", tear), func(t *testing.T) {
			for n := 0; ; n++ {
				if testShipCrash(t, n, tear) {
					if n != 23 {
						t.Fatalf("done after %d operations", n)
					}
					return
				}
			}
		})
	}
}

func testShipCrash(t *testing.T, n int, tear bool) (done bool) {
	t.Helper()
	dir := t.TempDir()
	metas := []*Meta{testMeta(1), testMeta(2)}
	for _, m := range metas {
		writeTestBlock(t, dir, m, 2)
	}
	mem := objstoretest.NewMemory()
	crashing := objstoretest.NewCrashing(mem, n)
	if tear {
		crashing.TearUpload()
	}
	err := ship(t, crashing, dir, ShipperOptions{})
	if err != nil {
		wantErrorIs(t, err, objstoretest.ErrCrashed)
	}
	wantNothingHalf(t, mem, n, tear)
	leftByCrash(t, dir)

	rec := objstoretest.NewRecorder(mem)
	must(t, ship(t, rec, dir, ShipperOptions{}))
	wantComplete(t, mem.Objects(), dir, metas...)
	wantShipped(t, dir, testID(1), testID(2))
	wantTidy(t, dir)
	return !crashing.Crashed()
}

// wantNothingHalf fails if a block in the bucket looks complete and is not.
func wantNothingHalf(t *testing.T, mem *objstoretest.Memory, n int, tear bool) {
	t.Helper()
	v := fetch(t, newTestFetcher(t, mem, FetcherOptions{}))
	for _, m := range v.Blocks {
		for _, f := range m.Thanos.Files {
			if f.RelPath != MetaFilename {
				if err := checkSize(t.Context(), mem, object(m.ULID, f.RelPath), f.SizeBytes); err != nil {
					t.Fatalf("cut after %d operations (tear %t): %v", n, tear, err)
				}
			}
		}
	}
}

// leftByCrash leaves locally what a killed process may leave.
func leftByCrash(t *testing.T, dir string) {
	t.Helper()
	staged := filepath.Join(dir, filepath.FromSlash(StageDirname), testID(1).String())
	must(t, os.MkdirAll(filepath.Join(staged, ChunksDirname), 0o755))
	must(t, os.WriteFile(filepath.Join(staged, ChunksDirname, "000001"), []byte("old"), 0o644))
	must(t, os.WriteFile(filepath.Join(dir, ShipperFilename+".tmp"), []byte(`{"version":1,"uplo`), 0o644))
}

// Each request fails once: the same pass or the next one puts it right, and the
// other block is not held back by a failure of the first block's objects.
func TestShipFaults(t *testing.T) {
	faults := map[string]objstoretest.Fault{
		"fail": objstoretest.Fail(errOutage), "lost answer": objstoretest.Lose(errOutage),
		"truncated": objstoretest.Truncate(3), "broken off": objstoretest.Break(3, errOutage),
		"flipped": objstoretest.Flip(20),
	}
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			for n, struck := 0, true; struck; n++ {
				dir := t.TempDir()
				metas := []*Meta{testMeta(1), testMeta(2)}
				for _, m := range metas {
					writeTestBlock(t, dir, m, 2)
				}
				mem := objstoretest.NewMemory()
				bkt := objstoretest.NewFaulty(mem)
				rule := objstoretest.Rule{Skip: n, Times: 1, Fault: fault}
				if name == "flipped" {
					// What a bucket stores wrongly under the right size only a
					// checksum can tell; meta.json is compared.
					rule.Name = MetaFilename
				}
				bkt.Set(rule)
				s := newTestShipper(t, bkt, Dirs{dir: testLabels()}, ShipperOptions{})
				err := s.Ship(t.Context())
				struck = bkt.Struck() > 0
				wantNothingHalf(t, mem, n, false)
				if done, _ := ReadShipped(dir); (err == nil) != (len(done) == 2) || s.Pending().Blocks != 2-len(done) {
					t.Fatalf("fault %d: error %v, %d blocks done, %+v pending", n, err, len(done), s.Pending())
				}
				must(t, s.Ship(t.Context()))
				wantComplete(t, mem.Objects(), dir, metas...)
				if n := s.Pending().Blocks; n != 0 {
					t.Fatalf("%d blocks pending", n)
				}
			}
		})
	}
}
