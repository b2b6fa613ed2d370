package receive

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/tsdb/record"
	"github.com/prometheus/prometheus/tsdb/tombstones"
	"github.com/prometheus/prometheus/tsdb/tsdbutil"
	"github.com/prometheus/prometheus/tsdb/wlog"
	"pgregory.net/rapid"
)

// slipIn writes a segment anew, with a record among the others: behind as many
// of them as before says for their number.
func slipIn(t *testing.T, segment string, rec []byte, before func(n int) int) {
	t.Helper()
	f, err := os.Open(segment)
	if err != nil {
		t.Fatal(err)
	}
	var records [][]byte
	err = errors.Join(scanSegment(f, anyRecord, func(rec []byte) error {
		records = append(records, slices.Clone(rec))
		return nil
	}, func(logGap) error { return nil }), f.Close())
	if err != nil {
		t.Fatal(err)
	}
	tmp := filepath.Join(t.TempDir(), "log")
	err = writeLog(nil, tmp, func(write func([]byte) error) error {
		for _, rec := range slices.Insert(records, before(len(records)), rec) {
			if err := write(rec); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(wlog.SegmentName(tmp, 0))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(segment, raw, 0o666); err != nil {
		t.Fatal(err)
	}
}

// A record that is whole but says nothing costs no other, whether mapped chunks
// are needed for it or not.
func TestRecordThatMakesNoSenseCostsNoOther(t *testing.T) {
	leakCheck(t)
	const n = 2000
	for name, rec := range map[string][]byte{
		"samples": {byte(record.Samples), 1, 2, 3},
		"unknown": {200, 1, 2, 3},
		// The TSDB's decoders do not survive these.
		"string without end":   append([]byte{byte(record.Series), 0, 0, 0, 0, 0, 0, 0, 9, 1}, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1),
		"labels without end":   append([]byte{byte(record.Series), 0, 0, 0, 0, 0, 0, 0, 9}, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f),
		"metadata without end": append([]byte{byte(record.Metadata), 1, 1}, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f),
	} {
		for _, log := range []string{"wal", "wbl"} {
			t.Run(name+" in "+log, func(t *testing.T) {
				dir := t.TempDir()
				opts := TenantsOptions{OutOfOrderWindow: 4 * time.Hour, BlockDuration: 24 * time.Hour}
				tenants := openTenants(t, dir, opts)
				for i := range n {
					mustWrite(t, tenants, "a", base+seconds(5*i), 1, up("1"))
				}
				mustWrite(t, tenants, "a", base+1, 1, up("1"))
				mustWrite(t, tenants, "a", base+2, 1, up("1"))
				if err := errors.Join(tenants.Compact(t.Context()), tenants.Close()); err != nil {
					t.Fatal(err)
				}
				slipIn(t, wlog.SegmentName(filepath.Join(dir, "a", log), 0), rec, func(n int) int { return max(1, n/4) })
				var said interface{ String() string }
				opts.Logger, said = logged()
				for restart := range 3 {
					tenants = openTenants(t, dir, opts)
					got := mustReadAll(t, tenants)
					if len(got) != 1 || len(got[0].points) != n+2+restart {
						t.Fatalf("after %d restarts %d of %d samples", restart, len(got[0].points), n+2+restart)
					}
					m := tenants.metrics
					if repairs, lost := testutil.ToFloat64(m.repairs), testutil.ToFloat64(m.logBytesLost); restart == 0 && (repairs != 1 || lost == 0) || restart > 0 && repairs > 0 {
						t.Errorf("after %d restarts %v repairs, %v bytes lost", restart, repairs, lost)
					}
					mustWrite(t, tenants, "a", base+seconds(5*(n+restart)), 1, up("1"))
					if err := tenants.Close(); err != nil {
						t.Fatal(err)
					}
				}
				if !strings.Contains(said.String(), "A log was damaged") || !exists(filepath.Join(dir, "a", "logs.broken", log+"-00000000")) {
					t.Errorf("the segment is not kept, or not told of: %s", said)
				}
			})
		}
	}
}

// decoded is what the TSDB says of a record.
func decoded(rec []byte) (err error) {
	d := record.NewDecoder(labels.NewSymbolTable(), slog.New(slog.DiscardHandler))
	switch d.Type(rec) {
	case record.Series:
		_, err = d.Series(rec, nil)
	case record.Samples, record.SamplesV2:
		_, err = d.Samples(rec, nil)
	case record.HistogramSamples, record.CustomBucketsHistogramSamples, record.HistogramSamplesV2:
		_, err = d.HistogramSamples(rec, nil)
	case record.FloatHistogramSamples, record.CustomBucketsFloatHistogramSamples, record.FloatHistogramSamplesV2:
		_, err = d.FloatHistogramSamples(rec, nil)
	case record.Exemplars:
		_, err = d.Exemplars(rec, nil)
	case record.Tombstones:
		_, err = d.Tombstones(rec, nil)
	case record.MmapMarkers:
		_, err = d.MmapMarkers(rec, nil)
	case record.Metadata:
		_, err = d.Metadata(rec, nil)
	default:
		return errors.New("unknown")
	}
	return err
}

// encoded returns records of every type, of up to as many entries.
func encoded(t *rapid.T, most int) (records [][]byte) {
	var (
		series     []record.RefSeries
		samples    []record.RefSample
		ints       []record.RefHistogramSample
		floats     []record.RefFloatHistogramSample
		exemplars  []record.RefExemplar
		stones     []tombstones.Stone
		markers    []record.RefMmapMarker
		metadata   []record.RefMetadata
		histograms = []func(int) *histogram.Histogram{
			func(i int) *histogram.Histogram { return tsdbutil.GenerateTestHistogram(int64(i)) },
			func(i int) *histogram.Histogram { return tsdbutil.GenerateTestCustomBucketsHistogram(int64(i)) },
			func(int) *histogram.Histogram { return &histogram.Histogram{Schema: 60} }, // of a later version
			func(int) *histogram.Histogram {
				return &histogram.Histogram{Schema: 20, PositiveSpans: []histogram.Span{{Length: 1}}, PositiveBuckets: []int64{1}}
			},
		}
	)
	lset := labels.FromStrings("__name__", strings.Repeat("n", rapid.IntRange(0, 300).Draw(t, "length")), "b", "c")
	for range rapid.IntRange(1, most).Draw(t, "entries") {
		at, ref, st := rapid.Int64().Draw(t, "t"), chunks.HeadSeriesRef(rapid.Uint64().Draw(t, "ref")), rapid.SampledFrom([]int64{0, 1, 1000}).Draw(t, "st")
		h := rapid.SampledFrom(histograms).Draw(t, "histogram")(rapid.IntRange(0, 9).Draw(t, "i"))
		series = append(series, record.RefSeries{Ref: ref, Labels: lset})
		samples = append(samples, record.RefSample{Ref: ref, T: at, ST: st, V: 1})
		ints = append(ints, record.RefHistogramSample{Ref: ref, T: at, ST: st, H: h})
		floats = append(floats, record.RefFloatHistogramSample{Ref: ref, T: at, ST: st, FH: h.ToFloat(nil)})
		exemplars = append(exemplars, record.RefExemplar{Ref: ref, T: at, V: 1, Labels: lset})
		stones = append(stones, tombstones.Stone{Ref: storage.SeriesRef(ref), Intervals: tombstones.Intervals{{Mint: at, Maxt: at}}})
		markers = append(markers, record.RefMmapMarker{Ref: ref, MmapRef: 1})
		metadata = append(metadata, record.RefMetadata{Ref: ref, Type: 1, Unit: "s", Help: "helps"})
	}
	for _, startTimes := range []bool{false, true} {
		e := record.Encoder{EnableSTStorage: startTimes}
		exponential, leftInts := e.HistogramSamples(ints, nil)
		exponentialFloats, leftFloats := e.FloatHistogramSamples(floats, nil)
		records = append(records, e.Series(series, nil), e.Samples(samples, nil), exponential, exponentialFloats,
			e.CustomBucketsHistogramSamples(leftInts, nil), e.CustomBucketsFloatHistogramSamples(leftFloats, nil),
			e.Exemplars(exemplars, nil), e.Tombstones(stones, nil), e.MmapMarkers(markers, nil), e.Metadata(metadata, nil))
	}
	return slices.DeleteFunc(records, func(rec []byte) bool { return len(rec) == 0 })
}

// What the TSDB encodes is decodable, and whatever is decodable it can decode.
func TestDecodableIsWhatTheTSDBDecodes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		for _, rec := range encoded(t, 4) {
			if err := decoded(rec); err != nil || !decodable(rec) {
				t.Fatalf("%v: decodable %v, decoded: %v", record.Type(rec[0]), decodable(rec), err)
			}
			at := rapid.IntRange(0, len(rec)-1).Draw(t, "at")
			rec[at] ^= rapid.ByteRange(1, 255).Draw(t, "flip")
			for _, damaged := range [][]byte{rec, rec[:at]} {
				if !decodable(damaged) {
					continue
				}
				if err := decoded(damaged); err != nil {
					t.Fatalf("%x is decodable, and decoded: %v", damaged, err)
				}
			}
		}
	})
}

func FuzzDecodable(f *testing.F) {
	for kind := range byte(16) {
		f.Add(append([]byte{kind}, make([]byte, 40)...))
	}
	f.Add([]byte{byte(record.Series), 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 'a', 1, 'b'})
	f.Fuzz(func(t *testing.T, rec []byte) {
		if !decodable(rec) {
			return
		}
		if err := decoded(rec); err != nil {
			t.Fatal(err)
		}
	})
}
