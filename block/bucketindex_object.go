package block

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"
)

// The two kinds of objects that make up an index.
const (
	baseSuffix  = ".base"
	deltaSuffix = ".delta"
)

// bucketIndexDir holds the objects of the index. A format that programs which
// know this one cannot read gets a directory of its own, so that both keep
// theirs.
const bucketIndexDir = VarveDirname + "/index/v1/"

// maxIndexBytes bounds an object of the index before compression. A block takes
// about 100 bytes.
const maxIndexBytes = 64 << 20

// maxDeflate is how many bytes one byte of a compressed content can become at most
// (https://www.zlib.net/zlib_tech.html, "Maximum Compression Factor").
const maxDeflate = 1032

// indexName is the name of one object of the index. Objects are written once
// and never changed, so a name stands for its content.
//
// What replaces an object has a higher number than it, and so comes behind it
// in a list, which is in byte order: a list that goes on while objects are
// replaced cannot miss both.
type indexName struct {
	number uint64
	id     ulid.ULID // unique; its time is when writing began
	base   bool
}

func (n indexName) String() string {
	suffix := deltaSuffix
	if n.base {
		suffix = baseSuffix
	}
	return fmt.Sprintf("%s%016x-%s%s", bucketIndexDir, n.number, n.id, suffix)
}

func (n indexName) time() time.Time { return ulid.Time(n.id.Time()) }

// parseIndexName takes the full name of an object. What is no name of an object
// of the index is none of its business.
func parseIndexName(name string) (indexName, bool) {
	rest, found := strings.CutPrefix(name, bucketIndexDir)
	suffix := path.Ext(rest)
	number, id, cut := strings.Cut(strings.TrimSuffix(rest, suffix), "-")
	n := indexName{base: suffix == baseSuffix}
	var err error
	if n.number, err = strconv.ParseUint(number, 16, 64); err != nil || !found || !cut {
		return indexName{}, false
	}
	var ok bool
	n.id, ok = parseULID(id)
	return n, ok && n.String() == name
}

// indexObject is the content of an object of the index.
type indexObject struct {
	name indexName
	// interval is how long a base may be relied upon, from the time of its name.
	interval time.Duration
	// replaced are the objects whose content is in this one.
	replaced []indexName
	// entries are blocks of the bucket, sorted by ULID, each once.
	entries []Entry
	// gone are blocks that were deleted.
	gone []ulid.ULID
	// turn is the block whose meta a base had read again last, of those that it
	// has to do with in turn.
	turn ulid.ULID

	// size of the content that was decoded, in bytes.
	size int
}

// object is the content of one, without what is around it.
func (w *indexWire) object(o *indexObject) {
	name := o.name
	w.indexName(&name)
	if w.reading && name != o.name {
		w.fail(fmt.Errorf("it is a copy of %s", name))
	}
	small(w, &o.interval)

	wireSlice(w, &o.replaced, len(ulid.ULID{})+2, w.indexName)
	wireSlice(w, &o.entries, len(ulid.ULID{})+2, w.entry)
	wireSlice(w, &o.gone, len(ulid.ULID{}), w.id)
	w.id(&o.turn)
	if w.reading && w.err == nil {
		w.end(o)
	}
}

func (w *indexWire) indexName(n *indexName) {
	w.uint(&n.number)
	w.id(&n.id)
	w.flags(&n.base)
}

func (w *indexWire) end(o *indexObject) {
	if len(w.b) > 0 {
		w.fail(fmt.Errorf("%d bytes too many", len(w.b)))
	}
	for i := 1; i < len(o.entries); i++ {
		if compareEntries(o.entries[i-1], o.entries[i]) >= 0 {
			w.fail(fmt.Errorf("block %s is out of order", o.entries[i].ID))
		}
	}
}

// The format. Around the content:
//
//	8 bytes  "varveidx"
//	1 byte   version, 2
//	4 bytes  CRC-32C of all that follows, big-endian
//	4 bytes  length of the content before compression, big-endian
//	…        the content, compressed (RFC 1951)
//
// The content is described by the methods of indexWire, from object on, for
// reading and writing alike. It is of this package alone; whoever changes it
// raises the version, and, once programs with the earlier one have been released,
// bucketIndexDir.
const (
	indexMagic      = "varveidx"
	indexVersion    = 2
	indexHeaderSize = len(indexMagic) + 1 + 4 + 4
)

var (
	// ErrIndexTooLarge: the index of the bucket would be larger than readers
	// take, so that it cannot be written.
	ErrIndexTooLarge = errors.New("index of the bucket is too large")

	errIndexInvalid = errors.New("invalid index of the bucket")
)

// encode returns the content of the object in the bucket. It sorts the entries.
func (o *indexObject) encode() ([]byte, error) {
	slices.SortFunc(o.entries, compareEntries)
	w := newIndexWriter()
	w.object(o)
	if len(w.b) > maxIndexBytes {
		return nil, fmt.Errorf("%w: %d blocks take %d bytes, more than %d", ErrIndexTooLarge, len(o.entries), len(w.b), maxIndexBytes)
	}
	var out bytes.Buffer
	out.WriteString(indexMagic)
	out.WriteByte(indexVersion)
	out.Write(make([]byte, 4))
	out.Write(binary.BigEndian.AppendUint32(nil, uint32(len(w.b))))
	z, err := flate.NewWriter(&out, flate.BestSpeed)
	if err != nil {
		return nil, err
	}
	if _, err := z.Write(w.b); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	b := out.Bytes()
	binary.BigEndian.PutUint32(b[len(indexMagic)+1:], indexChecksum(b))
	return b, nil
}

func indexChecksum(b []byte) uint32 {
	return crc32.Checksum(b[len(indexMagic)+1+4:], crc32.MakeTable(crc32.Castagnoli))
}

// decodeIndex reads the object of that name, whose content has no more bytes than
// most. Every error is an errIndexInvalid.
func decodeIndex(name indexName, b []byte, most int) (*indexObject, error) {
	content, err := openIndex(b, most)
	o := &indexObject{name: name, size: len(content)}
	if err == nil {
		w := newIndexReader(content)
		w.object(o)
		err = w.err
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", errIndexInvalid, name, err)
	}
	return o, nil
}

func openIndex(b []byte, most int) ([]byte, error) {
	switch {
	case len(b) < indexHeaderSize || string(b[:len(indexMagic)]) != indexMagic:
		return nil, errors.New("it does not begin as one")
	case b[len(indexMagic)] != indexVersion:
		return nil, fmt.Errorf("version is %d, want %d", b[len(indexMagic)], indexVersion)
	case binary.BigEndian.Uint32(b[len(indexMagic)+1:]) != indexChecksum(b):
		return nil, errors.New("checksum does not match")
	}
	size := int64(binary.BigEndian.Uint32(b[indexHeaderSize-4:]))
	switch {
	case size > int64(most):
		return nil, fmt.Errorf("it has %d bytes, more than %d", size, most)
	case size > maxDeflate*int64(len(b)):
		return nil, fmt.Errorf("it has fewer than %d bytes", size)
	}
	content := make([]byte, size)
	z := flate.NewReader(bytes.NewReader(b[indexHeaderSize:]))
	if _, err := io.ReadFull(z, content); err != nil {
		return nil, err
	}
	if n, err := z.Read(make([]byte, 1)); n > 0 || err != io.EOF {
		return nil, fmt.Errorf("it has more than %d bytes", size)
	}
	return content, nil
}

func compareEntries(a, b Entry) int { return a.ID.Compare(b.ID) }
