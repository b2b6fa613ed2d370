package receive

import (
	"bytes"
	"os"
	"slices"
	"testing"

	"github.com/prometheus/prometheus/tsdb/wlog"
	"github.com/prometheus/prometheus/util/compression"
	"pgregory.net/rapid"
)

// segmentOf returns a segment of the records as the TSDB writes it, without the
// padding of its last page, as it is before the log is closed, and where each
// record ends.
func segmentOf(t *rapid.T, dir string, records [][]byte, how compression.Type) (segment []byte, ends []int) {
	t.Helper()
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	log, err := wlog.New(nil, nil, dir, how)
	if err != nil {
		t.Fatal(err)
	}
	for _, rec := range records {
		if err := log.Log(rec); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(wlog.SegmentName(dir, 0))
		if err != nil {
			t.Fatal(err)
		}
		ends = append(ends, int(info.Size()))
	}
	if segment, err = os.ReadFile(wlog.SegmentName(dir, 0)); err != nil {
		t.Fatal(err)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	return segment, ends
}

func drawRecords(t *rapid.T) [][]byte {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) []byte {
		size := rapid.SampledFrom([]int{30, 3000, logPageSize - logHeaderSize, 90_000}).Draw(t, "size")
		size = max(10, size-rapid.IntRange(0, 20).Draw(t, "less"))
		rec := bytes.Repeat([]byte{rapid.Byte().Draw(t, "fill")}, size)
		for i := range rec { // Half of it does not compress.
			if i%2 == 0 {
				rec[i] = byte(i * i >> 3)
			}
		}
		return rec
	}), 1, 6).Draw(t, "records")
}

func anyRecord([]byte) bool { return true }

func scanned(t *rapid.T, segment []byte) (records [][]byte, gaps []logGap) {
	t.Helper()
	err := scanSegment(bytes.NewReader(segment), anyRecord, func(rec []byte) error {
		records = append(records, slices.Clone(rec))
		return nil
	}, func(g logGap) error {
		gaps = append(gaps, g)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return records, gaps
}

func TestScanReadsWhatTheTSDBWrites(t *testing.T) {
	leakCheck(t)
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		records := drawRecords(t)
		segment, _ := segmentOf(t, dir, records, rapid.SampledFrom(compression.Types()).Draw(t, "compression"))
		if padding := -len(segment) & (logPageSize - 1); rapid.Bool().Draw(t, "padded") {
			segment = append(segment, make([]byte, padding)...)
		}
		got, gaps := scanned(t, segment)
		if len(gaps) > 0 || !slices.EqualFunc(got, records, bytes.Equal) {
			t.Fatalf("%d of %d records, gaps %v", len(got), len(records), gaps)
		}
	})
}

// One damaged byte costs records that lie in its page, and no others.
func TestScanFindsTheRecordsBehindADamage(t *testing.T) {
	leakCheck(t)
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		records := drawRecords(t)
		for i, rec := range records {
			rec[0] = byte(i) // One is not taken for another that is equal.
		}
		segment, ends := segmentOf(t, dir, records, compression.None)
		at := rapid.IntRange(0, len(segment)-1).Filter(func(at int) bool {
			// The types of fragments, with which each begins, are in no checksum.
			return at%logPageSize > 0 && !slices.Contains(ends, at)
		}).Draw(t, "at")
		segment[at] ^= byte(rapid.IntRange(1, 255).Draw(t, "flip"))
		got, gaps := scanned(t, segment)
		start := 0
		for i, rec := range records {
			far := ends[i] <= at || start/logPageSize > at/logPageSize
			there := len(got) > 0 && bytes.Equal(got[0], rec)
			if there {
				got = got[1:]
			}
			if far && !there || !there && len(gaps) != 1 {
				t.Fatalf("record %d of %d, from %d to %d, is not read, gaps %v", i, len(records), start, ends[i], gaps)
			}
			start = ends[i]
		}
		if len(got) > 0 {
			t.Fatalf("%d records too many", len(got))
		}
	})
}

// What a process leaves that was killed while it wrote is told from damage.
func TestScanTellsATornRecord(t *testing.T) {
	leakCheck(t)
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		records := drawRecords(t)
		segment, ends := segmentOf(t, dir, records, compression.None)
		cut := rapid.IntRange(0, len(segment)-1).Draw(t, "cut")
		whole := 0
		for whole < len(ends) && ends[whole] <= cut {
			whole++
		}
		got, gaps := scanned(t, segment[:cut])
		// What is missing of the last page may be taken for zeros, which it may
		// have been.
		if whole < len(ends) && len(got) == whole+1 && len(bytes.Trim(segment[cut:ends[whole]], "\x00")) == 0 {
			return
		}
		if len(got) != whole {
			t.Fatalf("%d records, want %d", len(got), whole)
		}
		for _, g := range gaps {
			if !g.torn {
				t.Fatalf("%v of a segment that was cut at %d of %d", g, cut, len(segment))
			}
		}
	})
}

// A length that leads out of its page, and a record without its end that others
// follow, are damage, not what a process leaves that was killed.
func TestScanTellsDamageFromATornRecord(t *testing.T) {
	leakCheck(t)
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		short := make([]byte, rapid.IntRange(1, 1000).Draw(t, "short"))
		behind, ends := segmentOf(t, dir, [][]byte{short, short}, compression.None)
		length := slices.Concat(behind, make([]byte, logPageSize-len(behind)))
		length[ends[0]+1] = 0xff
		long := make([]byte, logPageSize+rapid.IntRange(0, logPageSize).Draw(t, "more"))
		begun, _ := segmentOf(t, dir, [][]byte{short, long}, compression.None)
		for name, segment := range map[string][]byte{"length": length, "followed": slices.Concat(begun[:logPageSize], behind)} {
			if _, gaps := scanned(t, segment); len(gaps) != 1 || gaps[0].torn {
				t.Errorf("%s: gaps %v", name, gaps)
			}
		}
	})
}

// A page of zeros is no padding, wherever it is.
func TestScanNoticesZeros(t *testing.T) {
	leakCheck(t)
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		records := drawRecords(t)
		for i, rec := range records {
			rec[0] = byte(i)
		}
		segment, ends := segmentOf(t, dir, records, rapid.SampledFrom(compression.Types()).Draw(t, "compression"))
		page := rapid.IntRange(0, (len(segment)-1)/logPageSize).Draw(t, "page") * logPageSize
		behind := min(page+logPageSize, len(segment))
		from := page
		if behind < len(segment) && rapid.Bool().Draw(t, "half") {
			from += rapid.IntRange(0, logPageSize-100).Draw(t, "from")
		}
		clear(segment[from:behind])
		got, gaps := scanned(t, segment)
		if len(gaps) != 1 || gaps[0].torn && behind < len(segment) {
			t.Fatalf("gaps %v", gaps)
		}
		start := 0
		for i, rec := range records {
			if there := slices.ContainsFunc(got, func(r []byte) bool { return bytes.Equal(r, rec) }); there != (ends[i] <= from || start >= behind) {
				t.Fatalf("record %d from %d to %d: read %v, zeros from %d to %d", i, start, ends[i], there, from, behind)
			}
			start = ends[i]
		}
		if len(got) > len(records) {
			t.Fatalf("%d records of %d", len(got), len(records))
		}
	})
}

func FuzzScanSegment(f *testing.F) {
	f.Add([]byte{1, 0, 1, 0, 0, 0, 0, 1})
	f.Add([]byte{logSnappyFlag | logFirst, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, segment []byte) {
		want := wlog.NewReader(bytes.NewReader(append(slices.Clone(segment), make([]byte, -len(segment)&(logPageSize-1))...)))
		err := scanSegment(bytes.NewReader(segment), anyRecord, func(rec []byte) error {
			if want != nil && (!want.Next() || !bytes.Equal(want.Record(), rec)) {
				t.Fatalf("the TSDB does not read this record: %v", want.Err())
			}
			return nil
		}, func(logGap) error {
			want = nil // It ends here.
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}
