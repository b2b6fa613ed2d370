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

// decoded is what the TSDB says of a record, and the greatest reference in it.
func decoded(rec []byte) (greatest chunks.HeadSeriesRef, err error) {
	d := record.NewDecoder(labels.NewSymbolTable(), slog.New(slog.DiscardHandler))
	see := func(ref chunks.HeadSeriesRef) {
		if ref <= greatestRef {
			greatest = max(greatest, ref)
		}
	}
	switch d.Type(rec) {
	case record.Series:
		err = seeAll(see, d.Series, rec, func(s record.RefSeries) chunks.HeadSeriesRef { return s.Ref })
	case record.Samples, record.SamplesV2:
		err = seeAll(see, d.Samples, rec, func(s record.RefSample) chunks.HeadSeriesRef { return s.Ref })
	case record.HistogramSamples, record.CustomBucketsHistogramSamples, record.HistogramSamplesV2:
		err = seeAll(see, d.HistogramSamples, rec, func(s record.RefHistogramSample) chunks.HeadSeriesRef { return s.Ref })
	case record.FloatHistogramSamples, record.CustomBucketsFloatHistogramSamples, record.FloatHistogramSamplesV2:
		err = seeAll(see, d.FloatHistogramSamples, rec, func(s record.RefFloatHistogramSample) chunks.HeadSeriesRef { return s.Ref })
	case record.Exemplars:
		err = seeAll(see, d.Exemplars, rec, func(s record.RefExemplar) chunks.HeadSeriesRef { return s.Ref })
	case record.Tombstones:
		err = seeAll(see, d.Tombstones, rec, func(s tombstones.Stone) chunks.HeadSeriesRef { return chunks.HeadSeriesRef(s.Ref) })
	case record.MmapMarkers:
		err = seeAll(see, d.MmapMarkers, rec, func(s record.RefMmapMarker) chunks.HeadSeriesRef { return s.Ref })
	case record.Metadata:
		err = seeAll(see, d.Metadata, rec, func(s record.RefMetadata) chunks.HeadSeriesRef { return s.Ref })
	default:
		err = errors.New("unknown")
	}
	return greatest, err
}

func seeAll[T any](see func(chunks.HeadSeriesRef), decode func([]byte, []T) ([]T, error), rec []byte, ref func(T) chunks.HeadSeriesRef) error {
	all, err := decode(rec, nil)
	for _, one := range all {
		see(ref(one))
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
		at, ref, st := rapid.Int64().Draw(t, "t"), chunks.HeadSeriesRef(rapid.Uint64Max(greatestRef+9).Draw(t, "ref")), rapid.SampledFrom([]int64{0, 1, 1000}).Draw(t, "st")
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

// checkDecodable fails if a record is said to be decodable and is not, or if a
// reference is missed. Histograms of an unknown kind the decoder leaves out.
func checkDecodable(t interface{ Fatalf(string, ...any) }, rec []byte) (ok bool) {
	greatest, ok := checkRecord(rec)
	if !ok {
		return false // The decoder might not survive it.
	}
	if want, err := decoded(rec); err != nil || greatest < want {
		t.Fatalf("%x is decodable, and decoded: %v; greatest reference %d, want %d", rec, err, greatest, want)
	}
	return true
}

// What the TSDB encodes is decodable, and whatever is decodable it can decode.
func TestDecodableIsWhatTheTSDBDecodes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		for _, rec := range encoded(t, 4) {
			if !checkDecodable(t, rec) {
				t.Fatalf("%v is not decodable: %x", record.Type(rec[0]), rec)
			}
			at := rapid.IntRange(0, len(rec)-1).Draw(t, "at")
			rec[at] ^= rapid.ByteRange(1, 255).Draw(t, "flip")
			checkDecodable(t, rec)
			checkDecodable(t, rec[:at])
		}
	})
}

func FuzzDecodable(f *testing.F) {
	for kind := range byte(16) {
		f.Add(append([]byte{kind}, make([]byte, 40)...))
	}
	f.Add([]byte{byte(record.Series), 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 'a', 1, 'b'})
	f.Fuzz(func(t *testing.T, rec []byte) { checkDecodable(t, rec) })
}
