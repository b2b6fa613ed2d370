package block

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/oklog/ulid/v2"

	"github.com/varve-tsdb/varve/objstore"
	"github.com/varve-tsdb/varve/objstore/objstoretest"
)

func TestMarkFormats(t *testing.T) {
	id := ulid.MustParseStrict("01JZ6XQ9G5ZC3V9D8R3T5Y7N2K")
	at := time.Unix(1748736000, 0)
	for _, test := range []struct {
		mark Mark
		want string
	}{
		{
			Mark{Kind: DeletionMark, ID: id, Time: at, Details: "retention"},
			`{"id":"01JZ6XQ9G5ZC3V9D8R3T5Y7N2K","version":1,"details":"retention","deletion_time":1748736000}`,
		},
		{
			Mark{Kind: NoCompactMark, ID: id, Time: at, Reason: ReasonIndexSizeExceeding},
			`{"id":"01JZ6XQ9G5ZC3V9D8R3T5Y7N2K","version":1,"no_compact_time":1748736000,"reason":"index-size-exceeding"}`,
		},
		{
			Mark{Kind: NoDownsampleMark, ID: id, Time: at, Reason: ReasonManual, Details: "x"},
			`{"id":"01JZ6XQ9G5ZC3V9D8R3T5Y7N2K","version":1,"details":"x","no_downsample_time":1748736000,"reason":"manual"}`,
		},
	} {
		b, err := test.mark.Encode()
		must(t, err)
		if string(b) != test.want {
			t.Errorf("wrote %s, want %s", b, test.want)
		}
		got, err := ParseMark(test.mark.Kind, b)
		must(t, err)
		if diff := cmp.Diff(test.mark, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	if _, err := (Mark{ID: id}).Encode(); err == nil {
		t.Error("a mark of no kind was encoded")
	}
}

func TestReadMark(t *testing.T) {
	id := testID(1)
	bkt := objstoretest.NewMemory()
	faulty := objstoretest.NewFaulty(bkt)
	read := func() error {
		_, err := ReadMark(t.Context(), faulty, id, DeletionMark)
		return err
	}
	wantErrorIs(t, read(), ErrMarkNotFound)
	for content, want := range map[string]error{
		"":     ErrMarkInvalid,
		"{":    ErrMarkInvalid,
		`[]`:   ErrMarkInvalid,
		`null`: ErrMarkVersion,
		`{"id":"` + id.String() + `","version":2,"deletion_time":1}`:         ErrMarkVersion,
		`{"id":"` + id.String() + `","version":1}`:                           ErrMarkInvalid,
		`{"version":1,"deletion_time":1}`:                                    ErrMarkInvalid,
		`{"id":"` + testID(2).String() + `","version":1,"deletion_time":1}`:  ErrMarkInvalid,
		`{"id":"` + id.String() + `","version":1,"deletion_time":1,"new":1}`: nil,
	} {
		bkt.Put(MarkObject(id, DeletionMark), []byte(content))
		err := read()
		if !errors.Is(err, want) {
			t.Errorf("%s: error %v, want %v", content, err, want)
		}
		if err != nil {
			wantText(t, err, id.String(), DeletionMarkFilename)
		}
	}
	faulty.Set(objstoretest.Rule{Fault: objstoretest.Fail(errOutage)})
	err := read()
	wantErrorIs(t, err, errOutage)
	if errors.Is(err, ErrMarkNotFound) || errors.Is(err, ErrMarkInvalid) {
		t.Errorf("an outage passes for an absent mark: %v", err)
	}
}

func TestFirstMarkStays(t *testing.T) {
	bkt := objstoretest.NewMemory()
	id := testID(1)
	put := func(at time.Time) bool {
		t.Helper()
		done, err := PutMark(t.Context(), bkt, Mark{Kind: DeletionMark, ID: id, Time: at})
		must(t, err)
		return done
	}
	wantTime := func(want time.Time) {
		t.Helper()
		m, err := ReadMark(t.Context(), bkt, id, DeletionMark)
		must(t, err)
		if !m.Time.Equal(want) {
			t.Errorf("marked at %s, want %s", m.Time, want)
		}
	}
	first, second := time.Unix(1000, 0), time.Unix(2000, 0)
	if !put(first) || put(second) {
		t.Error("want the first mark put and the second not")
	}
	wantTime(first)

	// What has no effect can be replaced.
	bkt.Put(MarkObject(id, DeletionMark), []byte("{"))
	if !put(second) {
		t.Error("a broken mark kept a new one away")
	}
	wantTime(second)

	// What may have an effect that is not known must not.
	bkt.Put(MarkObject(id, DeletionMark), []byte(`{"version":2}`))
	_, err := PutMark(t.Context(), bkt, Mark{Kind: DeletionMark, ID: id})
	wantErrorIs(t, err, ErrMarkVersion)

	must(t, RemoveMark(t.Context(), bkt, id, DeletionMark))
	must(t, RemoveMark(t.Context(), bkt, id, DeletionMark))
	before := time.Now().Truncate(time.Second)
	done, err := MarkForDeletion(t.Context(), bkt, id, "because")
	must(t, err)
	m, err := ReadMark(t.Context(), bkt, id, DeletionMark)
	must(t, err)
	if !done || m.Details != "because" || m.Time.Before(before) {
		t.Errorf("marked: %t, as %+v", done, m)
	}
}

func TestPutMarkFails(t *testing.T) {
	bkt := objstoretest.NewFaulty(objstoretest.NewMemory())
	for _, op := range []string{objstore.OpGet, objstore.OpUpload} {
		bkt.Set(objstoretest.Rule{Op: op, Fault: objstoretest.Fail(errOutage)})
		done, err := MarkForDeletion(t.Context(), bkt, testID(1), "")
		wantErrorIs(t, err, errOutage)
		wantText(t, err, testID(1).String())
		if done {
			t.Errorf("%s failed, and the block was marked", op)
		}
	}
}

func FuzzParseMark(f *testing.F) {
	f.Add(uint8(DeletionMark), []byte(`{"id":"01JZ6XQ9G5ZC3V9D8R3T5Y7N2K","version":1,"details":"x","deletion_time":1748736000}`))
	f.Add(uint8(NoCompactMark), []byte(`{"id":"01JZ6XQ9G5ZC3V9D8R3T5Y7N2K","version":1,"no_compact_time":-1,"reason":"manual"}`))
	f.Fuzz(func(t *testing.T, kind uint8, b []byte) {
		m, err := ParseMark(MarkKind(kind), b)
		if err != nil {
			if !errors.Is(err, ErrMarkInvalid) && !errors.Is(err, ErrMarkVersion) {
				t.Fatalf("unexpected class of error: %v", err)
			}
			return
		}
		if m.Kind.Filename() == "" {
			return
		}
		out, err := m.Encode()
		must(t, err)
		again, err := ParseMark(m.Kind, out)
		must(t, err)
		if diff := cmp.Diff(m, again); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
	})
}
