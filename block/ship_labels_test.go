package block

import (
	"path/filepath"
	"testing"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/varve-tsdb/varve/objstore/objstoretest"
)

// labelledDirs says of single blocks what they carry; of others, that they are
// not finished.
type labelledDirs struct {
	Dirs
	blocks map[ulid.ULID]labels.Labels
}

func (d labelledDirs) BlockLabels(_ string, id ulid.ULID) (labels.Labels, bool) {
	external, ok := d.blocks[id]
	return external, ok
}

// A block that its source does not give yet stays, and one with labels of its
// own is shipped with those.
func TestShipAsksAboutSingleBlocks(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a")
	now, before := labels.FromStrings("replica", "now"), labels.FromStrings("replica", "before")
	src := labelledDirs{Dirs{dir: now}, map[ulid.ULID]labels.Labels{testID(1): before, testID(2): now}}
	for n := 1; n <= 3; n++ {
		writeTestBlock(t, dir, testMeta(n), 1)
	}
	mem := objstoretest.NewMemory()
	s := newTestShipper(t, mem, src, ShipperOptions{})
	must(t, s.Ship(t.Context()))
	for n, want := range map[int]labels.Labels{1: before, 2: now} {
		m, err := ReadMeta(t.Context(), mem, testID(n))
		must(t, err)
		if !labels.Equal(m.Labels(), want) {
			t.Errorf("block %d has %v, want %v", n, m.Labels(), want)
		}
	}
	_, err := ReadMeta(t.Context(), mem, testID(3))
	wantErrorIs(t, err, ErrMetaNotFound)

	src.blocks[testID(3)] = now
	must(t, s.Ship(t.Context()))
	_, err = ReadMeta(t.Context(), mem, testID(3))
	must(t, err)
}
