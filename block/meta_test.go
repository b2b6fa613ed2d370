package block

import (
	"encoding/json"
	"errors"
	"maps"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/oklog/ulid/v2"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb"
)

func TestMetaKeepsEveryByte(t *testing.T) {
	names, err := filepath.Glob("testdata/meta/*.json")
	must(t, err)
	if len(names) == 0 {
		t.Fatal("no files")
	}
	for _, name := range names {
		t.Run(filepath.Base(name), func(t *testing.T) {
			want, err := os.ReadFile(name)
			must(t, err)
			m, err := ParseMeta(want)
			must(t, err)
			got, err := m.Encode()
			must(t, err)
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Fatalf("after reading and writing (-want +got):\n%s", diff)
			}
		})
	}
}

func TestMetaOfCompactedBlock(t *testing.T) {
	b, err := os.ReadFile("testdata/meta/compacted.json")
	must(t, err)
	m, err := ParseMeta(b)
	must(t, err)

	if got, want := m.Labels(), labels.FromStrings("replica", "a", "tenant_id", "acme"); !labels.Equal(got, want) {
		t.Errorf("labels %s, want %s", got, want)
	}
	if got := m.Resolution(); got != 5*time.Minute {
		t.Errorf("resolution %s, want 5m", got)
	}
	if got, want := m.GroupKey(), `300000@{replica="a", tenant_id="acme"}`; got != want {
		t.Errorf("group %s, want %s", got, want)
	}
	if diff := cmp.Diff([]string{"000001", "000002"}, m.Segments()); diff != "" {
		t.Errorf("segments (-want +got):\n%s", diff)
	}
	if got, want := m.Bytes(), int64(1000+2000+3000); got != want {
		t.Errorf("%d bytes, want %d", got, want)
	}
	if got, want := m.UploadedAt(), time.Date(2025, 6, 1, 12, 0, 0, 0, time.UTC); !got.Equal(want) {
		t.Errorf("uploaded at %s, want %s", got, want)
	}
}

func TestMetaOfPlainPrometheusBlock(t *testing.T) {
	m, err := ParseMeta([]byte(`{"ulid":"01JZ6XQ9G5ZC3V9D8R3T5Y7N2K","minTime":0,"maxTime":1,"version":1}`))
	must(t, err)
	if m.Labels().Len() != 0 || m.Resolution() != 0 || m.Segments() != nil || m.Bytes() != 0 {
		t.Errorf("labels %s, resolution %s, segments %v, %d bytes: want none of them",
			m.Labels(), m.Resolution(), m.Segments(), m.Bytes())
	}
	if got, want := m.UploadedAt(), ulid.Time(m.ULID.Time()); !got.Equal(want) {
		t.Errorf("uploaded at %s, want the time of the ULID, %s", got, want)
	}
}

// Prometheus must read what we write, and we what it writes.
func TestMetaAndPrometheus(t *testing.T) {
	want := tsdb.BlockMeta{
		ULID: testID(3), MinTime: -5, MaxTime: 7_200_000, Version: 1,
		Stats: tsdb.BlockStats{
			NumSamples: 1, NumFloatSamples: 2, NumHistogramSamples: 3, NumSeries: 4, NumChunks: math.MaxUint64, NumTombstones: 6,
		},
		Compaction: tsdb.BlockMetaCompaction{
			Level: 2, Sources: []ulid.ULID{testID(1), testID(2)}, Deletable: true, Failed: true,
			Parents: []tsdb.BlockDesc{{ULID: testID(1), MinTime: -5, MaxTime: 100}},
			Hints:   []string{tsdb.CompactionHintFromOutOfOrder},
		},
	}
	theirs, err := json.MarshalIndent(want, "", "\t")
	must(t, err)
	m, err := ParseMeta(theirs)
	must(t, err)
	ours, err := m.Encode()
	must(t, err)
	var got tsdb.BlockMeta
	must(t, json.Unmarshal(ours, &got))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Prometheus' meta after our reading and writing (-want +got):\n%s", diff)
	}
	// What both write is the same down to the byte.
	if head, _, _ := strings.Cut(string(ours), ",\n\t\"thanos\""); head+"\n}" != string(theirs) {
		t.Errorf("we write\n%s\nPrometheus\n%s", ours, theirs)
	}
}

func TestMetaKeepsUnknownFields(t *testing.T) {
	in := `{"ulid":"01JZ6XQ9G5ZC3V9D8R3T5Y7N2K","minTime":0,"maxTime":1,"version":1,"newTop":{"a":[1,2.50,"x"]},
		"thanos":{"labels":{"a":"b"},"zNew":18446744073709551616,"aNew":null,"extensions":{"parquet_migrated":{"v":1.0}}}}`
	m, err := ParseMeta([]byte(in))
	must(t, err)
	m.Thanos.Labels["c"] = "d"
	out, err := m.Encode()
	must(t, err)
	for _, want := range []string{
		"\t\"newTop\": {\n\t\t\"a\": [\n\t\t\t1,\n\t\t\t2.50,\n\t\t\t\"x\"\n\t\t]\n\t}",
		`"zNew": 18446744073709551616`, `"aNew": null`, `"v": 1.0`, `"c": "d"`,
	} {
		if !strings.Contains(string(out), want) {
			t.Errorf("%s is gone from\n%s", want, out)
		}
	}
}

func TestMetaInvalid(t *testing.T) {
	base := func(change func(*Meta)) func() []byte {
		return func() []byte {
			m := testMeta(1)
			change(m)
			b, _ := json.Marshal(m)
			return b
		}
	}
	text := func(s string) func() []byte { return func() []byte { return []byte(s) } }
	tests := map[string]struct {
		in   func() []byte
		want []string
	}{
		"empty":          {text(""), []string{"unexpected end"}},
		"null":           {text("null"), []string{"version is 0", "ulid is missing"}},
		"array":          {text("[]"), []string{"array"}},
		"truncated":      {text(`{"ulid":"01JZ6XQ9G5ZC3V9D8R3T5Y7N2K","minTi`), []string{"unexpected end"}},
		"trailing":       {text(`{} {}`), []string{"invalid character"}},
		"version":        {base(func(m *Meta) { m.Version = 2 }), []string{"version is 2"}},
		"no ulid":        {base(func(m *Meta) { m.ULID = ulid.ULID{} }), []string{"ulid is missing"}},
		"times":          {base(func(m *Meta) { m.MinTime, m.MaxTime = 5, 5 }), []string{"minTime 5 is not before maxTime 5"}},
		"thanos version": {base(func(m *Meta) { m.Thanos.Version = 2 }), []string{"thanos.version is 2"}},
		"resolution":     {base(func(m *Meta) { m.Thanos.Downsample.Resolution = -1 }), []string{"resolution -1"}},
		"huge resolution": {
			base(func(m *Meta) { m.Thanos.Downsample.Resolution = math.MaxInt64 }),
			[]string{"resolution 9223372036854775807"},
		},
		"size": {
			base(func(m *Meta) { m.Thanos.Files = []File{{RelPath: "index", SizeBytes: -1}} }),
			[]string{`"index" is -1`},
		},
		"all at once": {
			base(func(m *Meta) { m.Version, m.MaxTime, m.Thanos.Version = 0, m.MinTime, 7 }),
			[]string{"version is 0", "minTime", "thanos.version is 7"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			m, err := ParseMeta(test.in())
			if m != nil {
				t.Error("got a meta beside the error")
			}
			wantErrorIs(t, err, ErrMetaInvalid)
			wantText(t, err, test.want...)
		})
	}
}

func TestMetaValidateUpload(t *testing.T) {
	valid := func() *Meta {
		m := testMeta(1)
		m.Thanos.Labels = map[string]string{"a": "b"}
		return m
	}
	must(t, valid().ValidateUpload())

	m := valid()
	m.Thanos.Labels = map[string]string{}
	err := m.ValidateUpload()
	wantErrorIs(t, err, ErrNoExternalLabels)
	wantText(t, err, m.ULID.String())

	m = valid()
	m.Thanos.Labels = map[string]string{"a": "", "": "b", "c": "\xff"}
	m.Compaction = Compaction{}
	m.Version = 9
	err = m.ValidateUpload()
	wantErrorIs(t, err, ErrMetaInvalid)
	wantText(t, err, `"a"=""`, `""="b"`, `"c"="\xff"`, "level is 0", "sources is empty", "version is 9")
}

func TestMetaOverlaps(t *testing.T) {
	m := &Meta{MinTime: 10, MaxTime: 20}
	for _, test := range []struct {
		mint, maxt int64
		want       bool
	}{
		{0, 9, false},
		{0, 10, true},
		{19, 30, true},
		{20, 30, false},
		{12, 13, true},
		{math.MinInt64, math.MaxInt64, true},
		{15, 14, false},
	} {
		if got := m.Overlaps(test.mint, test.maxt); got != test.want && test.mint <= test.maxt {
			t.Errorf("[10, 20) overlaps [%d, %d]: %t, want %t", test.mint, test.maxt, got, test.want)
		}
	}
}

// The lists of known fields must follow the structs, or a field would be
// written twice.
func TestKnownFields(t *testing.T) {
	for _, test := range []struct {
		of    any
		known []string
	}{{Meta{}, metaFields()}, {Thanos{}, thanosFields()}} {
		var tags []string
		for _, f := range reflect.VisibleFields(reflect.TypeOf(test.of)) {
			if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "-" {
				tags = append(tags, name)
			}
		}
		if diff := cmp.Diff(tags, test.known); diff != "" {
			t.Errorf("known fields of %T (-tags +list):\n%s", test.of, diff)
		}
	}
}

func TestReadMetaDir(t *testing.T) {
	dir := t.TempDir()
	m := testMeta(1)
	path := writeTestBlock(t, dir, m, 1)
	got, err := ReadMetaDir(path)
	must(t, err)
	if diff := cmp.Diff(m, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	other := filepath.Join(dir, testID(2).String())
	must(t, os.Rename(path, other))
	_, err = ReadMetaDir(other)
	wantErrorIs(t, err, ErrMetaInvalid)
	wantText(t, err, testID(1).String(), testID(2).String(), dir)

	must(t, os.Remove(filepath.Join(other, MetaFilename)))
	_, err = ReadMetaDir(other)
	wantErrorIs(t, err, ErrMetaNotFound)
	wantErrorIs(t, err, os.ErrNotExist)

	_, err = ReadMetaDir(dir)
	wantText(t, err, "no block")
}

func FuzzParseMeta(f *testing.F) {
	names, _ := filepath.Glob("testdata/meta/*.json")
	for _, name := range names {
		b, err := os.ReadFile(name)
		must(f, err)
		f.Add(b)
	}
	f.Add([]byte(`{"ulid":"01JZ6XQ9G5ZC3V9D8R3T5Y7N2K","minTime":0,"maxTime":1,"version":1,"x":"<&>","VERSION":1,"thanos":null}`))
	f.Add([]byte(`{"ulid":"01JZ6XQ9G5ZC3V9D8R3T5Y7N2K","minTime":0,"maxTime":1,"version":1,"thanos":{"upload_time":"9999-12-31T23:59:59+23:59","y":[]}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := ParseMeta(b)
		if err != nil {
			if !errors.Is(err, ErrMetaInvalid) {
				t.Fatalf("error is not an ErrMetaInvalid: %v", err)
			}
			return
		}
		once, err := m.Encode()
		must(t, err)
		again, err := ParseMeta(once)
		if err != nil {
			t.Fatalf("cannot read what was written: %v\n%s", err, once)
		}
		twice, err := again.Encode()
		must(t, err)
		if string(once) != string(twice) {
			t.Fatalf("written first\n%s\nthen\n%s", once, twice)
		}
		if a, b := slices.Sorted(maps.Keys(m.Unknown)), slices.Sorted(maps.Keys(again.Unknown)); !slices.Equal(a, b) {
			t.Fatalf("unknown fields %q became %q", a, b)
		}
		_, _, _ = m.GroupKey(), m.Segments(), m.ValidateUpload()
	})
}
