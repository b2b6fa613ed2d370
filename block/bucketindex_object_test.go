package block

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/oklog/ulid/v2"
	"pgregory.net/rapid"
)

// fill draws every field of a struct, so that no field can be forgotten.
func fill(t *rapid.T, v reflect.Value) {
	switch p := v.Addr().Interface().(type) {
	case *time.Time:
		if rapid.Bool().Draw(t, "time set") {
			zone := time.FixedZone("", 60*rapid.IntRange(-600, 600).Draw(t, "offset"))
			*p = time.UnixMilli(rapid.Int64Range(0, 4e12).Draw(t, "time")).In(zone)
		}
		return
	case *json.RawMessage:
		*p = json.RawMessage(rapid.SampledFrom([]string{`{}`, `{"a":[1,null]}`, `"x"`, `12`}).Draw(t, "json"))
		return
	case *ulid.ULID:
		*p = testID(rapid.IntRange(1, 9).Draw(t, "id"))
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fill(t, v.Field(i))
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), rapid.IntRange(0, 3).Draw(t, "len"), 3))
		for i := range v.Len() {
			fill(t, v.Index(i))
		}
	case reflect.Map:
		if !rapid.Bool().Draw(t, "set") {
			return
		}
		v.Set(reflect.MakeMap(v.Type()))
		for range rapid.IntRange(0, 3).Draw(t, "size") {
			value := reflect.New(v.Type().Elem()).Elem()
			fill(t, value)
			v.SetMapIndex(reflect.ValueOf(rapid.StringMatching(`[a-z]{1,2}`).Draw(t, "key")), value)
		}
	case reflect.Pointer:
		if rapid.Bool().Draw(t, "set") {
			v.Set(reflect.New(v.Type().Elem()))
			fill(t, v.Elem())
		}
	case reflect.Bool:
		v.SetBool(rapid.Bool().Draw(t, "bool"))
	case reflect.Int, reflect.Int64:
		v.SetInt(rapid.Int64().Draw(t, "int"))
	case reflect.Uint64:
		v.SetUint(rapid.Uint64().Draw(t, "uint"))
	case reflect.String:
		v.SetString(rapid.SampledFrom([]string{"", "000001", "000002", "chunks/000001", "index", "ü"}).Draw(t, "string"))
	default:
		t.Fatalf("no idea how to fill a %s", v.Type())
	}
}

func drawMeta(t *rapid.T, id ulid.ULID) *Meta {
	m := &Meta{}
	fill(t, reflect.ValueOf(m).Elem())
	m.ULID, m.Version, m.Thanos.Version = id, Version1, rapid.IntRange(0, 1).Draw(t, "version")
	m.Thanos.Downsample.Resolution = rapid.SampledFrom([]int64{0, 300_000, 3_600_000}).Draw(t, "resolution")
	if m.MinTime == m.MaxTime {
		m.MaxTime++
	}
	m.MinTime, m.MaxTime = min(m.MinTime, m.MaxTime), max(m.MinTime, m.MaxTime)
	for i := range m.Thanos.Files {
		m.Thanos.Files[i].SizeBytes &= 1<<62 - 1
	}
	return m
}

func drawIndexName(t *rapid.T) indexName {
	return indexName{
		number: rapid.Uint64().Draw(t, "number"), id: testID(rapid.IntRange(1, 9).Draw(t, "id")),
		base: rapid.Bool().Draw(t, "base"),
	}
}

// drawIndex draws an object with blocks of any state, in no order.
func drawIndex(t *rapid.T) *indexObject {
	o := &indexObject{name: drawIndexName(t), interval: time.Duration(rapid.Int64Range(0, 1e15).Draw(t, "interval"))}
	for _, n := range rapid.SliceOfNDistinct(rapid.IntRange(1, 20), 0, 5, rapid.ID).Draw(t, "blocks") {
		e := Entry{ID: testID(n), HasMeta: rapid.Bool().Draw(t, "has meta"), Marks: MarkKinds(rapid.IntRange(0, 7).Draw(t, "marks"))}
		if rapid.Bool().Draw(t, "meta known") {
			e.Meta = drawMeta(t, e.ID)
		}
		if rapid.Bool().Draw(t, "deletion known") {
			e.Deletion = &Mark{Kind: DeletionMark, ID: e.ID, Time: time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "at"), 0), Details: "why"}
		}
		for _, at := range []*time.Time{&e.MetaWritten, &e.DataWritten} {
			if rapid.Bool().Draw(t, "time known") {
				*at = time.Unix(0, rapid.Int64Range(1, 4e18).Draw(t, "written"))
			}
		}
		o.entries = append(o.entries, e)
	}
	if rapid.Bool().Draw(t, "turn") {
		o.turn = testID(rapid.IntRange(1, 20).Draw(t, "turn of"))
	}
	for range rapid.IntRange(0, 3).Draw(t, "gone") {
		o.gone = append(o.gone, testID(rapid.IntRange(1, 20).Draw(t, "gone")))
	}
	for range rapid.IntRange(0, 3).Draw(t, "replaced") {
		o.replaced = append(o.replaced, drawIndexName(t))
	}
	return o
}

func equalIndex(a, b *indexObject) string {
	return cmp.Diff(a, b, cmp.AllowUnexported(indexObject{}, indexName{}, Entry{}), cmpopts.IgnoreFields(indexObject{}, "size"), cmpopts.EquateEmpty())
}

func TestIndexKeepsEverything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := drawIndex(t)
		b, err := o.encode()
		if err != nil {
			t.Fatal(err)
		}
		got, err := decodeIndex(o.name, b, maxIndexBytes)
		if err != nil {
			t.Fatal(err)
		}
		if diff := equalIndex(o, got); diff != "" {
			t.Fatalf("what was written and what was read (-want +got):\n%s", diff)
		}
		for i, e := range o.entries {
			if e.Meta != nil {
				want, _ := e.Meta.Encode()
				if have, err := got.entries[i].Meta.Encode(); err != nil || !bytes.Equal(want, have) {
					t.Fatalf("meta.json made from the index, error %v:\n%s\nwant\n%s", err, have, want)
				}
			}
		}
		if name, ok := parseIndexName(o.name.String()); !ok || name != o.name {
			t.Fatalf("name %s is read as %+v", o.name, name)
		}
	})
}

// indexOf is a base of n blocks with two sets of labels.
func indexOf(t testing.TB, n int) *indexObject {
	t.Helper()
	o := &indexObject{name: newIndexName(7, time.Now()), interval: time.Minute}
	o.name.base = true
	entropy := rand.NewChaCha8([32]byte{})
	for i := range n {
		m := testMeta(i)
		m.ULID = ulid.MustNew(m.ULID.Time(), entropy)
		m.Compaction.Sources = []ulid.ULID{m.ULID}
		m.Thanos = Thanos{
			Labels: map[string]string{"cluster": "eu-1", "tenant_id": fmt.Sprintf("team-%d", i%2)}, Source: SourceReceive,
			SegmentFiles: []string{"000001"}, UploadTime: time.UnixMilli(m.MaxTime).UTC(),
			Files: []File{{RelPath: "chunks/000001", SizeBytes: rand.New(entropy).Int64N(1e8)}, {RelPath: IndexFilename, SizeBytes: rand.New(entropy).Int64N(1e7)}, {RelPath: MetaFilename}},
		}
		at := m.Thanos.UploadTime.Truncate(time.Second)
		o.entries = append(o.entries, Entry{ID: m.ULID, HasMeta: true, Meta: m, MetaWritten: at, DataWritten: at.Add(-time.Second)})
	}
	return o
}

func encodeIndex(t testing.TB, o *indexObject) []byte {
	t.Helper()
	b, err := o.encode()
	must(t, err)
	return b
}

func TestIndexSharesLabels(t *testing.T) {
	o := indexOf(t, 4)
	got, err := decodeIndex(o.name, encodeIndex(t, o), maxIndexBytes)
	must(t, err)
	labelsOf := func(i int) uintptr { return reflect.ValueOf(got.entries[i].Meta.Thanos.Labels).Pointer() }
	if labelsOf(0) != labelsOf(2) || labelsOf(1) != labelsOf(3) || labelsOf(0) == labelsOf(1) {
		t.Error("blocks with equal labels have a map of their own each")
	}
}

// No damage goes unseen, wherever it is.
func TestIndexDamage(t *testing.T) {
	o := indexOf(t, 3)
	b := encodeIndex(t, o)
	for i := range b {
		flipped := slices.Clone(b)
		flipped[i] ^= 1 << (i % 8)
		for what, damaged := range map[string][]byte{"flipped": flipped, "cut": b[:i]} {
			_, err := decodeIndex(o.name, damaged, maxIndexBytes)
			wantErrorIs(t, err, errIndexInvalid)
			wantText(t, err, o.name.String())
			if t.Failed() {
				t.Fatalf("%s at byte %d of %d", what, i, len(b))
			}
		}
	}
	_, err := decodeIndex(newIndexName(8, time.Now()), b, maxIndexBytes)
	wantText(t, err, "copy of "+o.name.String())
	newer := slices.Clone(b)
	newer[len(indexMagic)]++
	_, err = decodeIndex(o.name, newer, maxIndexBytes)
	wantText(t, err, "version is 3, want 2")
}

// sealed is content with all around it that makes it an object.
func sealed(t testing.TB, content []byte) []byte {
	t.Helper()
	out := bytes.NewBufferString(indexMagic)
	out.WriteByte(indexVersion)
	out.Write(make([]byte, 4))
	out.Write(binary.BigEndian.AppendUint32(nil, uint32(len(content))))
	z, err := flate.NewWriter(out, flate.BestSpeed)
	must(t, err)
	_, err = z.Write(content)
	must(t, err)
	must(t, z.Close())
	b := out.Bytes()
	binary.BigEndian.PutUint32(b[len(indexMagic)+1:], indexChecksum(b))
	return b
}

func TestIndexRefusesNonsense(t *testing.T) {
	name := indexName{number: 1, id: testID(1), base: true}
	content := func(entries ...Entry) []byte {
		w := newIndexWriter()
		w.object(&indexObject{name: name, entries: entries})
		return w.b
	}
	invalid := testMeta(2)
	invalid.Version = 3
	for want, content := range map[string][]byte{
		"out of order":     content(Entry{ID: testID(2)}, Entry{ID: testID(1)}),
		"is out of order":  content(Entry{ID: testID(2)}, Entry{ID: testID(2)}),
		"2 bytes too many": append(content(), 1, 2),
		"ends early":       content(Entry{ID: testID(2)})[:30],
		"version is 3":     content(Entry{ID: testID(2), Meta: invalid}),
	} {
		_, err := decodeIndex(name, sealed(t, content), maxIndexBytes)
		wantErrorIs(t, err, errIndexInvalid)
		wantText(t, err, want)
	}
	bomb := sealed(t, bytes.Repeat([]byte{0}, maxIndexBytes+1))
	_, err := decodeIndex(name, bomb, maxIndexBytes)
	wantText(t, err, "more than 67108864")
}

// An object that would take much more memory than one that tells of blocks does is
// refused before it has, and so is one that lies about its size.
func TestIndexRefusesBombs(t *testing.T) {
	const n = 4 << 20
	name := indexName{number: 1, id: testID(1), base: true}
	for what, harm := range map[string]func(m *Meta){
		"rewrites": func(m *Meta) { m.Thanos.Rewrites = make([]json.RawMessage, n) },
		"hints":    func(m *Meta) { m.Compaction.Hints = make([]string, n) },
	} {
		m := testMeta(1)
		harm(m)
		b := encodeIndex(t, &indexObject{name: name, entries: []Entry{{ID: m.ULID, Meta: m}}})
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := decodeIndex(name, b, maxIndexBytes)
		runtime.ReadMemStats(&after)
		wantErrorIs(t, err, errIndexInvalid)
		wantText(t, err, "too much memory")
		if took := after.TotalAlloc - before.TotalAlloc; took > 2*n {
			t.Errorf("%s: %d bytes were taken for a content of %d", what, took, n)
		}
	}

	lies := sealed(t, make([]byte, 100))
	binary.BigEndian.PutUint32(lies[indexHeaderSize-4:], maxIndexBytes)
	binary.BigEndian.PutUint32(lies[len(indexMagic)+1:], indexChecksum(lies))
	_, err := decodeIndex(name, lies, maxIndexBytes)
	wantErrorIs(t, err, errIndexInvalid)
	wantText(t, err, "fewer than 67108864")
}

// Blocks that take the least are no bomb.
func TestIndexOfTheSmallestBlocks(t *testing.T) {
	o := &indexObject{name: newIndexName(1, time.Now())}
	for i := range 10_000 {
		m := &Meta{Version: Version1, MaxTime: 1}
		must(t, m.ULID.SetTime(uint64(i+1)))
		o.entries = append(o.entries, Entry{ID: m.ULID, HasMeta: true, Meta: m, Deletion: &Mark{Kind: DeletionMark, ID: m.ULID, Time: time.Unix(0, 0)}})
	}
	_, err := decodeIndex(o.name, encodeIndex(t, o), maxIndexBytes)
	must(t, err)
}

// All objects together take no more than there is room for.
func TestIndexOfTooManyBytes(t *testing.T) {
	mem := indexedBucket(t, 3)
	name, _ := parseIndexName(indexNames(mem)[0])
	l := newIndexLoad(mem)
	o, err := l.read(t.Context(), name)
	must(t, err)
	l.has(&indexObject{name: newIndexName(7, time.Now()), size: maxIndexLoad - o.size - 1})
	_, err = l.read(t.Context(), name)
	wantErrorIs(t, err, errIndexInvalid)
	wantText(t, err, "more than 1")
}

// Whatever is in an object, it is refused or it is an index.
func FuzzDecodeIndex(f *testing.F) {
	name := indexName{number: 1, id: testID(1), base: true}
	for n := range 3 {
		o := indexOf(f, n)
		o.name = name
		w := newIndexWriter()
		w.object(o)
		f.Add(w.b)
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		o, err := decodeIndex(name, sealed(t, content), maxIndexBytes)
		if err != nil {
			return
		}
		again, err := decodeIndex(name, encodeIndex(t, o), maxIndexBytes)
		must(t, err)
		if diff := equalIndex(o, again); diff != "" {
			t.Fatalf("(-first +again):\n%s", diff)
		}
	})
}

func TestIndexNames(t *testing.T) {
	id := testID(1).String()
	for _, name := range []string{
		"", "varve/index", bucketIndexDir, bucketIndexDir + "readme", bucketIndexDir + "1-" + id + ".base",
		bucketIndexDir + "0000000000000001-" + id, bucketIndexDir + "0000000000000001-" + id + ".tmp",
		bucketIndexDir + "000000000000000A-" + id + ".base", bucketIndexDir + "0000000000000001-" + strings.ToLower(id) + ".base",
		"0000000000000001-" + id + ".base", "x" + bucketIndexDir + "0000000000000001-" + id + ".base",
	} {
		if n, ok := parseIndexName(name); ok {
			t.Errorf("%q is taken for %+v", name, n)
		}
	}
}

func BenchmarkIndexObject(b *testing.B) {
	for _, n := range []int{1000, 10_000} {
		o := indexOf(b, n)
		content := encodeIndex(b, o)
		b.Run(fmt.Sprintf("write %d blocks", n), func(b *testing.B) {
			for b.Loop() {
				encodeIndex(b, o)
			}
			b.ReportMetric(float64(len(content))/float64(n), "bytes/block")
		})
		b.Run(fmt.Sprintf("read %d blocks", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := decodeIndex(o.name, content, maxIndexBytes); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
