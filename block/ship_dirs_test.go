package block

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/oklog/ulid/v2"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/varve-tsdb/varve/objstore/objstoretest"
)

// Broken blocks and directories fail by themselves, by name.
func TestShipManyDirs(t *testing.T) {
	root := t.TempDir()
	src := Dirs{}
	want := map[string][]byte{}
	for i := range 8 {
		dir := filepath.Join(root, fmt.Sprintf("tenant-%d", i))
		external := labels.FromStrings("tenant_id", fmt.Sprint(i))
		src[dir] = external
		for j := range 3 {
			m := testMeta(i*10 + j)
			writeTestBlock(t, dir, m, 1)
			want[MetaObject(m.ULID)] = nil
		}
	}
	dir := func(i int) string { return filepath.Join(root, fmt.Sprintf("tenant-%d", i)) }
	block := func(i, j int) string { return filepath.Join(dir(i), testID(i*10+j).String()) }
	// Tenant 1 has a broken block in the middle, tenant 2 one without a
	// meta.json, tenant 3 no labels, tenant 4 is gone, and tenant 5's folder is
	// a file.
	must(t, os.Remove(filepath.Join(block(1, 1), IndexFilename)))
	must(t, os.Remove(filepath.Join(block(2, 1), MetaFilename)))
	src[dir(3)] = labels.EmptyLabels()
	must(t, os.RemoveAll(dir(4)))
	must(t, os.RemoveAll(dir(5)))
	must(t, os.WriteFile(dir(5), nil, 0o644))
	for name := range maps.Clone(want) {
		for _, lost := range []string{block(1, 1), block(2, 1), block(3, 0), block(3, 1), block(3, 2), block(4, 0), block(4, 1), block(4, 2), block(5, 0), block(5, 1), block(5, 2)} {
			if strings.HasPrefix(name, filepath.Base(lost)) {
				delete(want, name)
			}
		}
	}

	mem := objstoretest.NewMemory()
	s := newTestShipper(t, mem, src, ShipperOptions{Concurrency: 3})
	err := s.Ship(t.Context())
	wantText(t, err, block2text(block(1, 1)), "index", block2text(block(2, 1)), dir(3), dir(5))
	wantErrorIs(t, err, ErrBroken)
	wantErrorIs(t, err, ErrMetaNotFound)
	wantErrorIs(t, err, ErrNoExternalLabels)
	var labelsErr *NoExternalLabelsError
	if !errors.As(err, &labelsErr) || labelsErr.Dir != dir(3) {
		t.Errorf("no NoExternalLabelsError about %s: %v", dir(3), labelsErr)
	}
	wantText(t, labelsErr, "receive.TenantsOptions", "--label")
	for _, i := range []int{0, 4, 6, 7} {
		if strings.Contains(err.Error(), dir(i)) {
			t.Errorf("%s is fine, but the error names it: %v", dir(i), err)
		}
	}
	got := map[string][]byte{}
	for name := range mem.Objects() {
		if strings.HasSuffix(name, MetaFilename) {
			got[name] = nil
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("blocks in the bucket (-want +got):\n%s", diff)
	}
	m, err := ReadMeta(t.Context(), mem, testID(72))
	must(t, err)
	if m.Labels().String() != `{tenant_id="7"}` {
		t.Errorf("labels of tenant 7's block: %s", m.Labels())
	}
	if p := s.Pending(); p.Blocks != 1+3 || !p.Oldest.Equal(ulid.Time(testID(11).Time())) {
		t.Errorf("pending %+v, want the broken block of tenant 1 and the three of tenant 3", p)
	}
}

// block2text is how errors name a block.
func block2text(path string) string {
	return fmt.Sprintf("block %s of %s: ", filepath.Base(path), filepath.Dir(path))
}

// Where files cannot be linked, the block is read in its place. A directory
// among the segments is such a case on every file system.
func TestShipWithoutHardLinks(t *testing.T) {
	dir := t.TempDir()
	path := writeTestBlock(t, dir, testMeta(1), 2)
	must(t, os.Mkdir(filepath.Join(path, ChunksDirname, "lost+found"), 0o755))
	mem := objstoretest.NewMemory()
	must(t, ship(t, mem, dir, ShipperOptions{}))
	wantComplete(t, mem.Objects(), dir, testMeta(1))
	wantTidy(t, dir)
}
