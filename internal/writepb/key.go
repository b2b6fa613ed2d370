package writepb

import (
	"encoding/binary"
	"math"

	"github.com/zeebo/xxh3"
)

// Key stands for the labels of a series as they were sent, and in 2.0 for its
// metadata too: 128 bits of hash, told apart by a seed. In 1.0 it is the XXH3
// hash of their bytes; in 2.0 the XXH3 hashes of the symbols, chained. Series of the same key,
// seed and version have the same labels, in the same order and encoding; the
// other way round the same labels sent in another order have another key.
//
// The hash is not a cryptographic one. Whoever makes an effort can find two label
// sets of one key, and so write to one series what is labelled as another; but
// only to series that they may write to anyway. The seeded form of the hash,
// which would make that harder, takes three times as long for the 300 bytes that
// labels usually have.
type Key [2]uint64

func (r *Request) key(material []byte) Key {
	h := xxh3.Hash128(material)
	return Key{h.Hi ^ r.seed, h.Lo}
}

// chain makes what stands for a symbol part of k. Each half is a polynomial of
// halves of hashes, which are independent of each other, so all 128 bits count: two
// symbols are not taken for one another more easily than two series.
func (k *Key) chain(lo, hi uint64) {
	k[0] = (k[0] ^ lo) * 0x9e3779b97f4a7c15
	k[1] = (k[1] ^ hi) * 0xc2b2ae3d27d4eb4f
}

// Outline is what can be told of a series without decoding its labels.
type Outline struct {
	Key Key
	// Float is the sample of a series that has one float and nothing else, if
	// Single. Of any other the rest has to be decoded with Request.Series.
	Float  Sample
	Single bool

	labels   span // 1.0: the labels with their tags; 2.0: the references
	metadata bool
}

// Seed prepares r for Outline: it hashes the symbols of a 2.0 request, once.
func (r *Request) Seed(seed uint64) {
	// The versions hash different things, so that their keys must not meet.
	r.seed = seed + uint64(r.version)<<32
	if r.version != V2 {
		return
	}
	if len(r.hashes) == len(r.texts) {
		return // A Router has asked before; the seed is no part of them.
	}
	r.hashes = room(r.hashes, len(r.texts))
	for _, at := range r.texts {
		h := xxh3.Hash128(r.body[at.off:at.end])
		r.hashes = append(r.hashes, [2]uint64{h.Lo, h.Hi})
	}
}

// Outline walks series i once and describes it. It returns false if the series
// is not laid out as every known writer does it, or is malformed: then only
// Request.Series can tell what it is. Seed must have been called after Reset.
func (r *Request) Outline(i int, out *Outline) bool {
	if r.version == V2 {
		return r.outlineV2(r.series[i], out)
	}
	return r.outlineV1(r.series[i], out)
}

// The tags that writers put in front of the fields, all of one byte.
const (
	tagLabels      = 1<<3 | 2
	tagSample      = 2<<3 | 2
	tagMetadata    = 5<<3 | 2
	tagSampleValue = 1<<3 | 1
	tagSampleTime  = 2 << 3
	tagSampleStart = 3 << 3
	tagType        = 1 << 3
	tagHelp        = 3 << 3
	tagUnit        = 4 << 3
	tagName        = 1<<3 | 2
	tagValue       = 2<<3 | 2
)

func (r *Request) outlineV1(at span, out *Outline) bool {
	body, pos, end := r.body, int(at.off), int(at.end)
	n := 0
	for pos < end && body[pos] == tagLabels {
		next := skipField(body, pos, end)
		if next < 0 {
			return false
		}
		pos = next
		n++
	}
	if n == 0 || n > MaxLabels {
		return false
	}
	out.Key, out.labels = r.key(body[at.off:pos]), span{at.off, uint32(pos)}
	return r.outlineRest(pos, end, out, V1)
}

func (r *Request) outlineV2(at span, out *Outline) bool {
	body, pos, end := r.body, int(at.off), int(at.end)
	if pos >= end || body[pos] != tagLabels {
		return false
	}
	refs, pos := fieldAt(body, pos, end)
	if pos < 0 {
		return false
	}
	var key Key
	n := 0
	for p := int(refs.off); p < int(refs.end); n++ {
		ref, next := shortVarint(body, p, int(refs.end))
		if next < 0 || !r.chain(&key, ref) {
			return false
		}
		p = next
	}
	if n == 0 || n%2 != 0 || n > 2*MaxLabels {
		return false
	}
	out.Key, out.labels = key, refs
	if !r.outlineRest(pos, end, out, V2) {
		return false
	}
	out.Key[0] ^= r.seed
	return true
}

// chain makes a symbol part of a key. It returns false if there is no such symbol.
func (r *Request) chain(k *Key, ref uint64) bool {
	if ref >= uint64(len(r.hashes)) {
		return false
	}
	h := &r.hashes[ref]
	k.chain(h[0], h[1])
	return true
}

// outlineRest looks at what follows the labels.
func (r *Request) outlineRest(pos, end int, out *Outline, v Version) bool {
	body := r.body
	out.Single, out.metadata = false, false
	for others := 0; pos < end; others++ {
		tag := body[pos]
		if tag == tagLabels || tag&7 != 2 || tag > tagMetadata {
			return false // More labels, or something unheard of.
		}
		at, next := fieldAt(body, pos, end)
		if next < 0 {
			return false
		}
		pos = next
		if tag == tagMetadata && v == V2 {
			if pos != end || !r.addMetadata(at, &out.Key) {
				return false
			}
			out.metadata = true
			break
		}
		out.Single = others == 0 && tag == tagSample && outlineSample(body, at, &out.Float, v)
	}
	return true
}

// outlineSample decodes a sample, or returns false if it is not as writers put
// it.
func outlineSample(body []byte, at span, out *Sample, v Version) bool {
	*out = Sample{}
	pos, end := int(at.off), int(at.end)
	for pos < end {
		tag := body[pos]
		switch {
		case tag == tagSampleValue && end-pos >= 9:
			out.Value = math.Float64frombits(binary.LittleEndian.Uint64(body[pos+1:]))
			pos += 9
			continue
		case tag == tagSampleTime, tag == tagSampleStart && v == V2:
		default:
			return false
		}
		t, n := binary.Uvarint(body[pos+1 : end])
		if n <= 0 {
			return false
		}
		pos += 1 + n
		if tag == tagSampleTime {
			out.Timestamp = int64(t)
		} else {
			out.StartTimestamp = int64(t)
		}
	}
	return true
}

// addMetadata makes the metadata of a 2.0 series part of its key.
func (r *Request) addMetadata(at span, k *Key) bool {
	pos, end := int(at.off), int(at.end)
	for pos < end {
		tag := r.body[pos]
		n, next := shortVarint(r.body, pos+1, end)
		if next < 0 {
			return false
		}
		pos = next
		k.chain(uint64(tag), uint64(tag))
		switch tag {
		case tagType:
			k.chain(n, n)
		case tagHelp, tagUnit:
			if !r.chain(k, n) {
				return false
			}
		default:
			return false
		}
	}
	return true
}

// fieldAt returns where the content of the field at pos lies, which has a tag of
// one byte and a length, and the position after it, -1 if it is cut short.
func fieldAt(body []byte, pos, end int) (span, int) {
	n, pos := shortVarint(body, pos+1, end)
	if pos < 0 || n > uint64(end-pos) {
		return span{}, -1
	}
	next := pos + int(n)
	return span{uint32(pos), uint32(next)}, next
}

func skipField(body []byte, pos, end int) int {
	_, next := fieldAt(body, pos, end)
	return next
}

// shortVarint reads a number and returns the position after it, or -1 if it is
// cut short or takes more than four bytes.
func shortVarint(body []byte, pos, end int) (uint64, int) {
	if pos < end && body[pos] < 0x80 {
		return uint64(body[pos]), pos + 1
	}
	var v uint64
	for shift := uint(0); shift < 28 && pos < end; shift += 7 {
		b := body[pos]
		pos++
		v |= uint64(b&0x7f) << shift
		if b < 0x80 {
			return v, pos
		}
	}
	return 0, -1
}
