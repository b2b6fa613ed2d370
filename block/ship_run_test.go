package block

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/varve-tsdb/varve/objstore"
	"github.com/varve-tsdb/varve/objstore/objstoretest"
)

// A bucket that is away delays uploads, and loses nothing.
func TestShipperRunThroughOutage(t *testing.T) {
	dir := t.TempDir()
	writeTestBlock(t, dir, testMeta(1), 2)
	synctest.Test(t, func(t *testing.T) {
		mem := objstoretest.NewMemory()
		bkt := objstoretest.NewFaulty(mem)
		var log bytes.Buffer
		s := newTestShipper(t, bkt, Dirs{dir: testLabels()}, ShipperOptions{Logger: slog.New(slog.NewTextHandler(&log, nil))})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- s.Run(ctx) }()
		time.Sleep(time.Minute)
		wantComplete(t, mem.Objects(), dir, testMeta(1))

		bkt.Set(objstoretest.Rule{Fault: objstoretest.Fail(errOutage)})
		writeTestBlock(t, dir, testMeta(2), 2)
		time.Sleep(10 * time.Minute)
		writeTestBlock(t, dir, testMeta(3), 2)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if n := s.Pending().Blocks; n != 2 {
			t.Errorf("%d blocks pending during the outage, want 2", n)
		}
		wantShipped(t, dir, testID(1))
		if n := strings.Count(log.String(), errOutage.Error()); n < 20 {
			t.Errorf("%d failures in the log after 20 minutes of outage", n)
		}

		bkt.Set()
		time.Sleep(time.Minute)
		wantComplete(t, mem.Objects(), dir, testMeta(1), testMeta(2), testMeta(3))
		wantShipped(t, dir, testID(1), testID(2), testID(3))
		cancel()
		must(t, <-done)
	})
}

// A bucket that hangs on one object holds back that block and nothing else,
// and what it took of the block is not sent again.
func TestShipWhileTheBucketHangs(t *testing.T) {
	hanging, well := t.TempDir(), t.TempDir()
	writeTestBlock(t, hanging, testMeta(1), 2)
	writeTestBlock(t, hanging, testMeta(2), 2)
	writeTestBlock(t, well, testMeta(3), 2)
	for _, op := range []string{objstore.OpIter, objstore.OpUpload} {
		synctest.Test(t, func(t *testing.T) {
			mem := objstoretest.NewMemory()
			bkt := objstoretest.NewFaulty(mem)
			bkt.Set(objstoretest.Rule{Op: op, Fault: objstoretest.Stall(), Match: func(op, name string) bool {
				return name == prefix(testID(1)) || name == IndexObject(testID(1))
			}})
			// One at a time, so that the others have to wait for it.
			s := newTestShipper(t, bkt, Dirs{hanging: testLabels(), well: testLabels()}, ShipperOptions{Concurrency: 1})
			err := s.Ship(t.Context())
			wantErrorIs(t, err, context.DeadlineExceeded)
			wantText(t, err, testID(1).String(), hanging, "ShipperOptions.UploadTimeout")
			if strings.Contains(err.Error(), testID(3).String()) {
				t.Errorf("block 3 is fine, but the error names it: %v", err)
			}
			wantShipped(t, well, testID(3))
			if op == objstore.OpUpload {
				wantShipped(t, hanging, testID(2))
			}

			bkt.Set()
			rec := objstoretest.NewRecorder(mem)
			s = newTestShipper(t, rec, Dirs{hanging: testLabels()}, ShipperOptions{})
			must(t, s.Ship(t.Context()))
			wantShipped(t, hanging, testID(1), testID(2))
			if strings.Contains(rec.Lines(objstore.OpUpload), ChunksObject(testID(1), 1)) == (op == objstore.OpUpload) {
				t.Errorf("uploads of the pass after:\n%s", rec.Lines(objstore.OpUpload))
			}
		})
		for _, dir := range []string{hanging, well} {
			must(t, os.Remove(filepath.Join(dir, ShipperFilename)))
		}
	}
}

// Run ends at once even if the bucket never answers, and the upload it leaves
// is finished by the last pass of a shutdown.
func TestShipperStopsInTheMiddle(t *testing.T) {
	dir := t.TempDir()
	writeTestBlock(t, dir, testMeta(1), 2)
	synctest.Test(t, func(t *testing.T) {
		mem := objstoretest.NewMemory()
		bkt := objstoretest.NewFaulty(mem)
		bkt.Set(objstoretest.Rule{Op: objstore.OpUpload, Name: IndexFilename, Fault: objstoretest.Stall()})
		s := newTestShipper(t, bkt, Dirs{dir: testLabels()}, ShipperOptions{})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- s.Run(ctx) }()
		synctest.Wait()

		// Another pass waits for its turn, as long as its context lasts.
		short, stop := context.WithTimeout(t.Context(), time.Second)
		defer stop()
		wantErrorIs(t, s.Ship(short), context.DeadlineExceeded)

		cancel()
		must(t, <-done)
		bkt.Set()
		must(t, s.Ship(t.Context()))
		wantComplete(t, mem.Objects(), dir, testMeta(1))
		wantTidy(t, dir)
	})
}
