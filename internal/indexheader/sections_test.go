package indexheader

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// TestSectionsSpareARequest builds with right and with wrong sections and gets the
// same header.
func TestSectionsSpareARequest(t *testing.T) {
	b := realIndex(t, 20_000)
	right, err := ReadSections(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	build := func(s Sections) (header []byte, reads int) {
		m := &memIndex{b: b}
		path := filepath.Join(t.TempDir(), "index-header")
		if _, err := Build(t.Context(), m, path, BuildOptions{Sections: s}); err != nil {
			t.Fatal(err)
		}
		header, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return header, int(m.requests.Load())
	}
	want, _ := build(Sections{})
	got, reads := build(right)
	if !bytes.Equal(got, want) || reads != 2 {
		t.Errorf("%d reads, want 2 for the same header", reads)
	}
	for _, wrong := range []Sections{
		{right.Series + 4, right.PostingsTable},
		{right.Series, right.PostingsTable - 4},
		{6, 7},
		{right.PostingsTable, right.Series},
		{-1, right.PostingsTable},
		{right.Series, int64(len(b))},
		{right.Series, right.Series},
	} {
		if got, _ := build(wrong); !bytes.Equal(got, want) {
			t.Errorf("the header built with sections %v differs", wrong)
		}
	}
}

func TestReadSectionsOfNoIndex(t *testing.T) {
	b := realIndex(t, 20_000)
	for name, b := range map[string][]byte{
		"empty": nil, "short": b[:40], "no magic": append(make([]byte, 4), b[4:]...), "cut": b[:len(b)-1],
		"version 1": append(append(bytes.Clone(b[:4]), 1), b[5:]...),
	} {
		if s, err := ReadSections(bytes.NewReader(b), int64(len(b))); err == nil {
			t.Errorf("%s: %v", name, s)
		}
	}
}
