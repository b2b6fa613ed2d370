package block

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/prometheus/prometheus/tsdb/index"

	"github.com/varve-tsdb/varve/internal/blocktest"
)

// TestIndexSections takes them from a real index, and asks Prometheus' reader.
func TestIndexSections(t *testing.T) {
	dir := t.TempDir()
	id := blocktest.Write(t, dir, blocktest.Block{External: testLabels(), Series: []blocktest.Series{
		{Labels: testLabels(), Samples: blocktest.Floats(0, 1000, 10, 1)},
	}})
	dir = filepath.Join(dir, id.String())
	path := filepath.Join(dir, IndexFilename)
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	toc, err := index.NewTOCFromByteSlice(byteSlice(content))
	if err != nil {
		t.Fatal(err)
	}
	for name, extensions := range map[string]string{
		"none": ``, "of another": `{"other":{"a":[1, 2]}}`, "old": `{"varve_index_sections":{"size":7,"series":1,"postings_table":2}}`,
	} {
		m := &Meta{Thanos: Thanos{Extensions: json.RawMessage(extensions), Files: []File{{RelPath: IndexFilename, SizeBytes: int64(len(content))}}}}
		if series, table := m.IndexSections(); series != 0 || table != 0 {
			t.Errorf("%s: sections at %d and %d before they are noted", name, series, table)
		}
		if err := m.noteIndexSections(path); err != nil {
			t.Fatal(err)
		}
		if series, table := m.IndexSections(); series != int64(toc.Series) || table != int64(toc.PostingsTable) {
			t.Errorf("%s: sections at %d and %d, want %d and %d", name, series, table, toc.Series, toc.PostingsTable)
		}
		var all map[string]any
		if err := json.Unmarshal(m.Thanos.Extensions, &all); err != nil {
			t.Fatal(err)
		}
		if _, kept := all["other"]; kept != (name == "of another") {
			t.Errorf("%s: extensions are now %s", name, m.Thanos.Extensions)
		}
		// A compactor hands the note on to a block whose index is another.
		m.Thanos.Files[0].SizeBytes++
		if series, table := m.IndexSections(); series != 0 || table != 0 {
			t.Errorf("%s: sections at %d and %d of an index of another size", name, series, table)
		}
	}
}

type byteSlice []byte

func (b byteSlice) Len() int                    { return len(b) }
func (b byteSlice) Range(start, end int) []byte { return b[start:end] }

// TestNoSectionsOfWhatIsNoIndex leaves it to readers to complain.
func TestNoSectionsOfWhatIsNoIndex(t *testing.T) {
	path := filepath.Join(t.TempDir(), IndexFilename)
	for _, content := range []string{"", "short", string(make([]byte, 100))} {
		if err := os.WriteFile(path, []byte(content), 0o666); err != nil {
			t.Fatal(err)
		}
		for _, extensions := range []string{``, `[1]`, `null`, `"text"`} {
			m := &Meta{Thanos: Thanos{Extensions: json.RawMessage(extensions)}}
			if err := m.noteIndexSections(path); err != nil {
				t.Errorf("%q: %v", content, err)
			}
			if got := string(m.Thanos.Extensions); got != extensions {
				t.Errorf("%q: extensions %q have become %q", content, extensions, got)
			}
		}
	}
}
