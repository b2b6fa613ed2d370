package cache

import (
	"github.com/zeebo/xxh3"
)

// pageSize is the unit in which objects are remembered: pages start at its
// multiples. It is one of the sizes that Go's allocator hands out without
// waste, a chunk of floats is a fortieth of it, and what is read too much at the
// two ends of a request is a thousandth of what a request is worth.
const pageSize = 16 << 10

// objectID stands for the name and version of an object.
type objectID [16]byte

func newObjectID(name, version string) objectID {
	// No object name holds a zero byte, so that the two cannot run together.
	text := make([]byte, 0, len(name)+len(version)+1)
	text = append(text, name...)
	text = append(text, 0)
	text = append(text, version...)
	return xxh3.Hash128(text).Bytes()
}

// pageKey names a page: the bytes from number*pageSize on.
type pageKey struct {
	object objectID
	number int64
}

// page is a page's content, shorter than pageSize only at the end of the object.
// It is never changed.
type page struct {
	number  int64
	content []byte
}
