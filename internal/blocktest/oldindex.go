package blocktest

import (
	"encoding/binary"
	"hash/crc32"
	"testing"

	"github.com/prometheus/prometheus/tsdb/index"
)

// OldIndex returns the index of a block as Prometheus wrote it up to v0.303: with
// the label indices between series and postings, and the label offset table between
// the last postings list and the postings offset table. Readers need neither.
func OldIndex(tb testing.TB, of []byte) []byte {
	tb.Helper()
	check := func(err error) {
		if err != nil {
			tb.Helper()
			tb.Fatalf("blocktest: old index: %v", err)
		}
	}
	b := byteSlice(of)
	toc, err := index.NewTOCFromByteSlice(b)
	check(err)
	r, err := index.NewReader(b, index.DecodePostingsRaw)
	check(err)
	symbols := map[string]uint32{}
	for all := r.Symbols(); all.Next(); {
		symbols[all.At()] = uint32(len(symbols))
	}
	names, err := r.LabelNames(tb.Context())
	check(err)

	old := append([]byte{}, of[:toc.LabelIndices]...)
	pad := func() uint64 {
		for len(old)%4 != 0 {
			old = append(old, 0)
		}
		return uint64(len(old))
	}
	toc.LabelIndices = pad()
	var offsets []uint64
	for _, name := range names {
		values, err := r.SortedLabelValues(tb.Context(), name, nil)
		check(err)
		offsets = append(offsets, pad())
		body := binary.BigEndian.AppendUint32(nil, 1)
		body = binary.BigEndian.AppendUint32(body, uint32(len(values)))
		for _, v := range values {
			body = binary.BigEndian.AppendUint32(body, symbols[v])
		}
		old = appendSection(old, body)
	}

	type list struct {
		name, value string
		offset      uint64
	}
	var lists []list
	check(index.ReadPostingsOffsetTable(b, toc.PostingsTable, func(name, value []byte, offset uint64, _ int) error {
		lists = append(lists, list{string(name), string(value), offset})
		return nil
	}))
	// Everywhere lists are aligned to four bytes.
	first, end := lists[0].offset, toc.LabelIndicesTable
	toc.Postings = pad()
	old = append(old, of[first:end]...)

	toc.LabelIndicesTable = uint64(len(old))
	body := binary.BigEndian.AppendUint32(nil, uint32(len(names)))
	for i, name := range names {
		body = binary.AppendUvarint(append(body, 1), uint64(len(name)))
		body = binary.AppendUvarint(append(body, name...), offsets[i])
	}
	old = appendSection(old, body)

	toc.PostingsTable = uint64(len(old))
	body = binary.BigEndian.AppendUint32(nil, uint32(len(lists)))
	for _, l := range lists {
		body = binary.AppendUvarint(append(body, 2), uint64(len(l.name)))
		body = binary.AppendUvarint(append(body, l.name...), uint64(len(l.value)))
		body = binary.AppendUvarint(append(body, l.value...), l.offset-first+toc.Postings)
	}
	old = appendSection(old, body)

	start := len(old)
	for _, at := range []uint64{toc.Symbols, toc.Series, toc.LabelIndices, toc.LabelIndicesTable, toc.Postings, toc.PostingsTable} {
		old = binary.BigEndian.AppendUint64(old, at)
	}
	return binary.BigEndian.AppendUint32(old, crc32.Checksum(old[start:], crc32.MakeTable(crc32.Castagnoli)))
}

// appendSection appends the length of a section, the section and its checksum.
func appendSection(b, body []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(body)))
	b = append(b, body...)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli)))
}

// byteSlice shows bytes as Prometheus' index reader takes them.
type byteSlice []byte

func (b byteSlice) Len() int                    { return len(b) }
func (b byteSlice) Range(start, end int) []byte { return b[start:end] }
