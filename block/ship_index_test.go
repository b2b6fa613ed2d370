package block

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/varve-tsdb/varve/objstore"
	"github.com/varve-tsdb/varve/objstore/objstoretest"
)

// What is shipped is seen by the next pass of every reader, by the index alone.
func TestShipTellsIndex(t *testing.T) {
	dir := t.TempDir()
	mem := indexedBucket(t, 1)
	reader := newTestFetcher(t, mem, FetcherOptions{})
	s := newTestShipper(t, mem, Dirs{dir: testLabels()}, ShipperOptions{})
	for n := 1; n < 5; n++ {
		writeTestBlock(t, dir, testMeta(n), 2)
		must(t, s.Ship(t.Context()))
		wantExactly(t, mem, reader)
	}
	if n := testutil.ToFloat64(reader.metrics.indexReads.WithLabelValues(string(indexUsed))); n != 4 {
		t.Errorf("the reader used the index %v times of 4", n)
	}

	// Blocks that are found in the bucket are told of together.
	must(t, os.Remove(filepath.Join(dir, ShipperFilename)))
	rec := objstoretest.NewRecorder(mem)
	must(t, ship(t, rec, dir, ShipperOptions{}))
	if n := strings.Count(rec.Lines(objstore.OpUpload), bucketIndexDir); n != 1 {
		t.Errorf("%d objects of the index written, want 1:\n%s", n, rec.Lines())
	}
	wantExactly(t, mem, reader)

	before := len(indexNames(mem))
	writeTestBlock(t, dir, testMeta(6), 2)
	must(t, ship(t, mem, dir, ShipperOptions{NoIndex: true}))
	if n := len(indexNames(mem)); n != before {
		t.Errorf("%d objects in the index, %d before", n, before)
	}
}

// An index that cannot be written holds back no block, and is told later.
func TestShipWithoutAccessToTheIndex(t *testing.T) {
	dir := t.TempDir()
	writeTestBlock(t, dir, testMeta(1), 2)
	mem := indexedBucket(t, 1)
	bkt := objstoretest.NewFaulty(mem)
	bkt.Set(objstoretest.Rule{Name: bucketIndexDir, Fault: objstoretest.Fail(errOutage)})
	var log bytes.Buffer
	s := newTestShipper(t, bkt, Dirs{dir: testLabels()}, ShipperOptions{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	must(t, s.Ship(t.Context()))
	wantShipped(t, dir, testID(1))
	if !strings.Contains(log.String(), "could not write to the index") {
		t.Errorf("nothing of that in the log:\n%s", &log)
	}
	bkt.Set()
	must(t, s.Ship(t.Context()))
	wantExactly(t, mem)
}

// One that hangs holds a pass back for a short while only.
func TestShipWhileTheIndexHangs(t *testing.T) {
	dir := t.TempDir()
	writeTestBlock(t, dir, testMeta(1), 2)
	synctest.Test(t, func(t *testing.T) {
		bkt := objstoretest.NewFaulty(objstoretest.NewMemory())
		bkt.Set(objstoretest.Rule{Name: bucketIndexDir, Fault: objstoretest.Stall()})
		s := newTestShipper(t, bkt, Dirs{dir: testLabels()}, ShipperOptions{})
		begin := time.Now()
		must(t, s.Ship(t.Context()))
		if took := time.Since(begin); took > 2*shipIndexTimeout {
			t.Errorf("the pass took %s", took)
		}
		wantShipped(t, dir, testID(1))
	})
}
