package indexheader

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/index"

	"github.com/varve-tsdb/varve/internal/blocktest"
)

// memIndex is an index in memory that counts what is read of it.
type memIndex struct {
	b        []byte
	requests atomic.Int64
	bytes    atomic.Int64
}

func (m *memIndex) Size(context.Context) (int64, error) { return int64(len(m.b)), nil }

func (m *memIndex) ReadRange(_ context.Context, off, length int64) (io.ReadCloser, error) {
	if off < 0 || length <= 0 || off >= int64(len(m.b)) {
		return nil, fmt.Errorf("range %d+%d of %d", off, length, len(m.b))
	}
	m.requests.Add(1)
	m.bytes.Add(length)
	return io.NopCloser(bytes.NewReader(m.b[off:min(off+length, int64(len(m.b)))])), nil
}

// realIndex is the index of a block with n series.
func realIndex(tb testing.TB, n int) []byte {
	tb.Helper()
	var series []blocktest.Series
	for i := range n {
		series = append(series, blocktest.Series{
			Labels: labels.FromStrings(
				"__name__", fmt.Sprintf("metric_%d", i%7),
				"instance", fmt.Sprintf("host-%05d", i),
				"job", fmt.Sprintf("job-%d", i%40),
				"long", strings.Repeat("x", i%300)+"y",
				"only", []string{"", "here"}[min(i, 1)^1],
			),
			Samples: blocktest.Floats(0, 30, 10, float64(i)),
		})
	}
	dir := tb.TempDir()
	id := blocktest.Write(tb, dir, blocktest.Block{Series: series})
	b, err := os.ReadFile(filepath.Join(dir, id.String(), "index"))
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func build(tb testing.TB, b []byte) (path string, m *memIndex) {
	tb.Helper()
	path = filepath.Join(tb.TempDir(), "index-header")
	m = &memIndex{b: b}
	r, err := Build(tb.Context(), m, path, BuildOptions{})
	if err != nil {
		tb.Fatal(err)
	}
	if err := r.Close(); err != nil {
		tb.Fatal(err)
	}
	return path, m
}

// Of two who build headers of different indexes at one path each gets its own,
// whichever of the files stays.
func TestBuildOpensWhatItBuilt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "index-header")
	var readers []*Reader
	for _, n := range []int{20, 30} {
		r, err := Build(t.Context(), &memIndex{b: realIndex(t, n)}, path, BuildOptions{})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		readers = append(readers, r)
	}
	for i, n := range []int{20, 30} {
		values := 0
		if err := readers[i].LabelValues("instance", func(string, Range) bool { values++; return true }); err != nil || values != n {
			t.Errorf("%d instances, %v, want %d", values, err, n)
		}
	}
}

// thanosHeader makes a header from a whole index as the format describes it,
// with nothing of the code under test.
func thanosHeader(b []byte) []byte {
	toc := b[len(b)-52:]
	symbols, series := binary.BigEndian.Uint64(toc), binary.BigEndian.Uint64(toc[8:])
	table := binary.BigEndian.Uint64(toc[40:])
	var h []byte
	h = append(h, 0xBA, 0xAA, 0xD7, 0x92, 1, b[4])
	h = binary.BigEndian.AppendUint64(h, table)
	symbolsAt := len(h)
	h = append(h, b[symbols:series]...)
	tableAt := len(h)
	h = append(h, b[table:]...)
	end := binary.BigEndian.AppendUint64(nil, uint64(symbolsAt))
	end = binary.BigEndian.AppendUint64(end, uint64(tableAt))
	end = binary.BigEndian.AppendUint32(end, crc32.Checksum(end, crc32.MakeTable(crc32.Castagnoli)))
	return append(h, end...)
}

func TestBuildWritesTheFormat(t *testing.T) {
	for _, n := range []int{1, 3, 500, 20_000} {
		b := realIndex(t, n)
		path, m := build(t, b)
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, thanosHeader(b)) {
			t.Errorf("%d series: the header is not what the format says", n)
		}
		limit := int64(1)
		if len(b) > WholeIndex {
			limit = 3
		}
		if requests := m.requests.Load(); requests > limit {
			t.Errorf("%d series, an index of %d bytes: %d requests, want at most %d", n, len(b), requests, limit)
		}
		if entries, err := os.ReadDir(filepath.Dir(path)); err != nil || len(entries) != 1 {
			t.Errorf("the directory has %v beside the header (%v)", entries, err)
		}
	}
}

func TestReaderAgreesWithIndex(t *testing.T) {
	today := realIndex(t, 3000)
	for name, b := range map[string][]byte{"today's": today, "with label indices": blocktest.OldIndex(t, today)} {
		t.Run(name, func(t *testing.T) {
			path, _ := build(t, b)
			readerAgrees(t, path, b)
		})
		// A header has no ends of lists in it, whoever made it.
		t.Run(name+", header of another program", func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "index-header")
			if err := os.WriteFile(path, thanosHeader(b), 0o666); err != nil {
				t.Fatal(err)
			}
			readerAgrees(t, path, b)
		})
	}
}

func readerAgrees(t *testing.T, path string, b []byte) {
	r, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	oracle, err := index.NewReader(byteSlice(b), index.DecodePostingsRaw)
	if err != nil {
		t.Fatal(err)
	}
	ranges, err := oracle.PostingsRanges()
	if err != nil {
		t.Fatal(err)
	}

	if r.IndexSize() != int64(len(b)) {
		t.Errorf("the index has %d bytes, the header says %d", len(b), r.IndexSize())
	}
	names, err := oracle.LabelNames(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(names, r.LabelNames()); diff != "" {
		t.Errorf("label names (-index +header):\n%s", diff)
	}
	for _, name := range append(names, "nope") {
		want, err := oracle.SortedLabelValues(t.Context(), name, nil)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		if err := r.LabelValues(name, func(value string, list Range) bool {
			got = append(got, value)
			checkRange(t, b, ranges, name, value, list)
			return true
		}); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("values of %s (-index +header):\n%s", name, diff)
		}
		checkPostings(t, r, b, ranges, name, want)
	}
	checkRange(t, b, ranges, "", "", r.AllPostings())

	var refs []uint32
	var symbols []string
	for it, i := oracle.Symbols(), uint32(0); it.Next(); i++ {
		refs, symbols = append(refs, i), append(symbols, it.At())
	}
	for _, step := range []int{1, 2, 31, 32, 33, 200, len(refs)} {
		var some []uint32
		var want []string
		for i := 0; i < len(refs); i += step {
			some = append(some, refs[i], refs[i])
			want = append(want, symbols[i], symbols[i])
		}
		got, err := r.Symbols(nil, some)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("every %dth symbol: wrong (%v)", step, err)
		}
	}
	if _, err := r.Symbols(nil, []uint32{0, uint32(len(refs))}); !errors.As(err, new(*CorruptError)) {
		t.Errorf("a symbol that is not there: %v", err)
	}
}

// checkPostings asks for all values, some, and some that do not exist.
func checkPostings(t *testing.T, r *Reader, b []byte, ranges map[labels.Label]index.Range, name string, values []string) {
	t.Helper()
	for _, step := range []int{1, 5, 40, 1000} {
		var ask []string
		for i := 0; i < len(values); i += step {
			ask = append(ask, values[i], values[i]+"\x00", values[i][:len(values[i])-1])
		}
		ask = append(ask, "", "\xff")
		sort.Strings(ask)
		got, err := r.Postings(name, ask)
		if err != nil {
			t.Fatal(err)
		}
		for i, value := range ask {
			checkRange(t, b, ranges, name, value, got[i])
		}
	}
}

// checkRange holds a range, which has the list's length and CRC, against the
// index, which speaks of the list without its length.
func checkRange(t *testing.T, b []byte, ranges map[labels.Label]index.Range, name, value string, got Range) {
	t.Helper()
	want, ok := ranges[labels.Label{Name: name, Value: value}]
	if !ok || name != "" && value == "" {
		if !got.IsZero() {
			t.Errorf("%s=%q does not exist but has the range %v", name, value, got)
		}
		return
	}
	if got.Start != want.Start-4 || got.End != want.End+4 {
		t.Errorf("%s=%q is %v, want %v", name, value, got, want)
		return
	}
	list := b[got.Start:got.End]
	if int(binary.BigEndian.Uint32(list)) != len(list)-8 {
		t.Errorf("%s=%q: the list at %v says it has %d bytes", name, value, got, binary.BigEndian.Uint32(list))
	}
}

type byteSlice []byte

func (b byteSlice) Len() int                    { return len(b) }
func (b byteSlice) Range(start, end int) []byte { return b[start:end] }

func TestLabelValuesStops(t *testing.T) {
	path, _ := build(t, realIndex(t, 100))
	r, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	calls := 0
	if err := r.LabelValues("instance", func(string, Range) bool { calls++; return calls < 3 }); err != nil || calls != 3 {
		t.Errorf("%d calls, want 3 (%v)", calls, err)
	}
}

func TestOpenRefuses(t *testing.T) {
	good := thanosHeader(realIndex(t, 50))
	with := func(change func(b []byte) []byte) []byte { return change(bytes.Clone(good)) }
	for name, b := range map[string][]byte{
		"empty":       {},
		"short":       good[:50],
		"truncated":   good[:len(good)-1],
		"longer":      append(bytes.Clone(good), 0),
		"magic":       with(func(b []byte) []byte { b[0]++; return b }),
		"format":      with(func(b []byte) []byte { b[4] = 2; return b }),
		"symbols":     with(func(b []byte) []byte { b[30]++; return b }),
		"table":       with(func(b []byte) []byte { b[len(b)-100]++; return b }),
		"index TOC":   with(func(b []byte) []byte { b[len(b)-60]++; return b }),
		"own TOC":     with(func(b []byte) []byte { b[len(b)-1]++; return b }),
		"table place": with(func(b []byte) []byte { b[13]++; return b }),
		"zeros":       make([]byte, len(good)),
	} {
		path := filepath.Join(t.TempDir(), "index-header")
		if err := os.WriteFile(path, b, 0o666); err != nil {
			t.Fatal(err)
		}
		var e *CorruptError
		if _, err := Open(path); !errors.As(err, &e) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, version := range []byte{1, 3} {
		path := filepath.Join(t.TempDir(), "index-header")
		if err := os.WriteFile(path, with(func(b []byte) []byte { b[5] = version; return b }), 0o666); err != nil {
			t.Fatal(err)
		}
		var e *UnsupportedError
		if _, err := Open(path); !errors.As(err, &e) || e.Version != int(version) {
			t.Errorf("index version %d: %v", version, err)
		}
	}
	if _, err := Open(filepath.Join(t.TempDir(), "nope")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

func TestBuildRefusesAndLeavesNothing(t *testing.T) {
	good := realIndex(t, 50)
	with := func(change func(b []byte)) []byte { b := bytes.Clone(good); change(b); return b }
	for name, b := range map[string][]byte{
		"empty":     {},
		"truncated": good[:len(good)-10],
		"half":      good[:len(good)/2],
		"magic":     with(func(b []byte) { b[0]++ }),
		"v1":        with(func(b []byte) { b[4] = 1 }),
		"v3":        with(func(b []byte) { b[4] = 3 }),
		"symbols":   with(func(b []byte) { b[20]++ }),
		"table":     with(func(b []byte) { b[len(b)-60]++ }),
	} {
		dir := t.TempDir()
		_, err := Build(t.Context(), &memIndex{b: b}, filepath.Join(dir, "index-header"), BuildOptions{})
		if !errors.As(err, new(*CorruptError)) && !errors.As(err, new(*UnsupportedError)) {
			t.Errorf("%s: %v", name, err)
		}
		if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
			t.Errorf("%s: left %v behind (%v)", name, entries, err)
		}
	}
}

// lyingIndex claims to be longer than it is.
type lyingIndex struct{ memIndex }

func (l *lyingIndex) ReadRange(ctx context.Context, off, length int64) (io.ReadCloser, error) {
	r, err := l.memIndex.ReadRange(ctx, off, length)
	if err == nil {
		r = io.NopCloser(io.LimitReader(r, length-1))
	}
	return r, err
}

func TestBuildNoticesTruncatedRead(t *testing.T) {
	m := &lyingIndex{memIndex{b: realIndex(t, 50)}}
	_, err := Build(t.Context(), m, filepath.Join(t.TempDir(), "index-header"), BuildOptions{})
	if !errors.As(err, new(*CorruptError)) {
		t.Errorf("a truncated read: %v", err)
	}
}

func FuzzOpen(f *testing.F) {
	good := thanosHeader(realIndex(f, 70))
	f.Add(good, 0, byte(0), true)
	for i := range 64 {
		f.Add(good, i*len(good)/64, byte(1<<(i%8)), i%2 == 0)
	}
	f.Fuzz(func(t *testing.T, b []byte, at int, flip byte, repair bool) {
		b = bytes.Clone(b)
		if len(b) > 0 {
			b[(at%len(b)+len(b))%len(b)] ^= flip
		}
		if repair {
			repairSums(b)
		}
		r, err := newReader(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return
		}
		for _, name := range r.LabelNames() {
			var values []string
			_ = r.LabelValues(name, func(value string, _ Range) bool { values = append(values, value); return true })
			_, _ = r.Postings(name, values)
		}
		for i := range uint32(100) {
			_, _ = r.Symbols(nil, []uint32{i, i * 2, i * 3})
		}
	})
}

// repairSums makes the CRCs of a header right again wherever it can find them,
// so that mutations reach what is behind the checks.
func repairSums(b []byte) {
	table := crc32.MakeTable(crc32.Castagnoli)
	section := func(at int) {
		if at < 0 || at+4 > len(b) {
			return
		}
		n := int(binary.BigEndian.Uint32(b[at:]))
		if end := at + 4 + n; n >= 0 && end+4 <= len(b) {
			binary.BigEndian.PutUint32(b[end:], crc32.Checksum(b[at+4:end], table))
		}
	}
	if len(b) < 100 {
		return
	}
	end := len(b) - 20
	section(14)
	section(int(int32(binary.BigEndian.Uint64(b[end+8:]))))
	binary.BigEndian.PutUint32(b[end-4:], crc32.Checksum(b[end-52:end-4], table))
	binary.BigEndian.PutUint32(b[end+16:], crc32.Checksum(b[end:end+16], table))
}
