package block

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/varve-tsdb/varve/objstore/objstoretest"
)

func TestShipperMetrics(t *testing.T) {
	dir := t.TempDir()
	writeTestBlock(t, dir, testMeta(1), 1)
	mem := objstoretest.NewMemory()
	bkt := objstoretest.NewFaulty(mem)
	reg := prometheus.NewPedanticRegistry()
	s := newTestShipper(t, bkt, Dirs{dir: testLabels()}, ShipperOptions{Registerer: reg})
	check := func(text string) {
		t.Helper()
		var names []string
		var with strings.Builder
		for _, line := range strings.Split(strings.TrimSpace(text), "\n") {
			name, _, _ := strings.Cut(line, "{")
			name, _, _ = strings.Cut(name, " ")
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
			with.WriteString(line + "\n")
		}
		families, err := reg.Gather()
		must(t, err)
		var typed strings.Builder
		for _, f := range families {
			if slices.Contains(names, f.GetName()) {
				fmt.Fprintf(&typed, "# HELP %s %s\n# TYPE %s %s\n", f.GetName(), f.GetHelp(), f.GetName(), strings.ToLower(f.GetType().String()))
			}
		}
		must(t, testutil.GatherAndCompare(reg, strings.NewReader(typed.String()+with.String()), names...))
	}

	bkt.Set(objstoretest.Rule{Fault: objstoretest.Fail(errOutage)})
	wantErrorIs(t, s.Ship(t.Context()), errOutage)
	check(`
varve_block_shipper_passes_total{result="error"} 1
varve_block_shipper_passes_total{result="ok"} 0
varve_block_shipper_pending_blocks 1
varve_block_shipper_failures_total 1
varve_block_shipper_uploads_total 0`)
	if age := s.Pending().age(ulid.Time(testID(1).Time()).Add(time.Hour)); age != time.Hour {
		t.Errorf("age %s, want 1h", age)
	}
	bkt.Set()
	must(t, s.Ship(t.Context()))
	bytes := len(mem.Objects()[ChunksObject(testID(1), 1)]) + len(mem.Objects()[IndexObject(testID(1))])
	check(fmt.Sprintf(`
varve_block_shipper_passes_total{result="error"} 1
varve_block_shipper_passes_total{result="ok"} 1
varve_block_shipper_pending_blocks 0
varve_block_shipper_oldest_pending_age_seconds 0
varve_block_shipper_failures_total 1
varve_block_shipper_uploads_total 1
varve_block_shipper_uploaded_bytes_total %d`, bytes))

	_, err := NewShipper(bkt, Dirs{}, ShipperOptions{Registerer: reg})
	wantText(t, err, "block.Shipper", "prometheus.WrapRegistererWith")
}

func TestFetcherMetrics(t *testing.T) {
	mem := objstoretest.NewMemory()
	putBlock(t, mem, testMeta(1))
	mem.Put(IndexObject(testID(2)), []byte("partial"))
	bkt := objstoretest.NewFaulty(mem)
	reg := prometheus.NewPedanticRegistry()
	f := newTestFetcher(t, bkt, FetcherOptions{Registerer: reg})
	fetch(t, f)
	fetch(t, f)
	bkt.Set(objstoretest.Rule{Fault: objstoretest.Fail(errOutage)})
	if _, err := f.Fetch(t.Context()); err == nil {
		t.Error("no error")
	}
	want := `
# HELP varve_block_fetcher_blocks Blocks in the bucket as of the last pass, by what became of them.
# TYPE varve_block_fetcher_blocks gauge
varve_block_fetcher_blocks{state="duplicate"} 0
varve_block_fetcher_blocks{state="fresh"} 0
varve_block_fetcher_blocks{state="marked"} 0
varve_block_fetcher_blocks{state="partial"} 1
varve_block_fetcher_blocks{state="served"} 1
varve_block_fetcher_blocks{state="unknown-mark"} 0
# HELP varve_block_fetcher_meta_reads_total Reads of a meta.json, by where it came from.
# TYPE varve_block_fetcher_meta_reads_total counter
varve_block_fetcher_meta_reads_total{source="bucket"} 1
varve_block_fetcher_meta_reads_total{source="memory"} 1
# HELP varve_block_fetcher_passes_total Passes over the bucket, by result.
# TYPE varve_block_fetcher_passes_total counter
varve_block_fetcher_passes_total{result="error"} 1
varve_block_fetcher_passes_total{result="ok"} 2
`
	must(t, testutil.GatherAndCompare(reg, strings.NewReader(want),
		"varve_block_fetcher_blocks", "varve_block_fetcher_meta_reads_total", "varve_block_fetcher_passes_total"))

	_, err := NewFetcher(bkt, FetcherOptions{Registerer: reg})
	wantText(t, err, "block.Fetcher", "prometheus.WrapRegistererWith")
	reg = prometheus.NewPedanticRegistry()
	for _, name := range []string{"a", "b"} {
		_, err = NewFetcher(bkt, FetcherOptions{Registerer: prometheus.WrapRegistererWith(prometheus.Labels{"bucket": name}, reg)})
		must(t, err)
	}
}
