package block

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/varve-tsdb/varve/internal/indexheader"
)

// sectionsExtension is the member of Thanos.Extensions that says where the parts
// of the index are that every reader needs first. With it a reader has them by two
// reads side by side; without, it first has to read the end of the index to find
// out. An object of its own with these parts would spare one request more, and
// cost each block a hundredth of its size, and a place where it is forgotten.
const sectionsExtension = "varve_index_sections"

// indexSections is the value of sectionsExtension.
type indexSections struct {
	// Size of the index. Compactors hand extensions on to blocks of which they are
	// not true any more.
	Size int64 `json:"size"`
	// Series and PostingsTable are where these sections start in the index.
	Series        int64 `json:"series"`
	PostingsTable int64 `json:"postings_table"`
}

// IndexSections returns where the series section and the postings offset table
// start in the block's index, if whoever uploaded it left a note of that and it
// is of an index of the size that Thanos.Files tells; else zeros. It is a hint: a
// reader checks it against the index.
func (m *Meta) IndexSections() (series, postingsTable int64) {
	if len(m.Thanos.Extensions) == 0 {
		return 0, 0
	}
	var all map[string]json.RawMessage
	var s indexSections
	if json.Unmarshal(m.Thanos.Extensions, &all) != nil || json.Unmarshal(all[sectionsExtension], &s) != nil {
		return 0, 0 // somebody else's
	}
	for _, f := range m.Thanos.Files {
		if f.RelPath == IndexFilename && f.SizeBytes == s.Size && s.Size > 0 {
			return s.Series, s.PostingsTable
		}
	}
	return 0, 0
}

// noteIndexSections adds the note about the index at path to the extensions of m,
// whose other members stay. Extensions that are no JSON object stay as they are,
// and an index of another version or form gets none: that is for its readers to
// find out.
func (m *Meta) noteIndexSections(path string) error {
	all := map[string]json.RawMessage{}
	if len(m.Thanos.Extensions) > 0 && (json.Unmarshal(m.Thanos.Extensions, &all) != nil || all == nil) {
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	delete(all, sectionsExtension)
	sections, err := indexheader.ReadSections(f, info.Size())
	switch {
	case err == nil:
		all[sectionsExtension], err = json.Marshal(indexSections{info.Size(), sections.Series, sections.PostingsTable})
	case errors.As(err, new(*indexheader.CorruptError)), errors.As(err, new(*indexheader.UnsupportedError)):
		err = nil
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	m.Thanos.Extensions = nil
	if len(all) > 0 {
		// In the form in which Encode writes it, so that this Meta is the one
		// that is read back.
		m.Thanos.Extensions, err = json.MarshalIndent(all, "\t\t", "\t")
	}
	return err
}
