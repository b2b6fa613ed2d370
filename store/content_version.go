package store

import (
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/varve-tsdb/varve/block"
)

// contentVersion sums up what meta.json says about the content of a block, and
// when the youngest of its index and chunks was written, zero if unknown, for
// caches. A block is never changed, but it may be deleted and another uploaded
// under its ULID, as a repair does: that one was written at another time, and may
// differ in nothing else.
//
// It does not depend on when meta.json was written, nor on external labels, which
// operators change in place, nor on how the list of blocks was come by.
func contentVersion(m *block.Meta, written time.Time) string {
	text := make([]byte, 0, 256)
	number := func(n ...int64) {
		for _, v := range n {
			text = binary.AppendVarint(text, v)
		}
	}
	word := func(s string) {
		number(int64(len(s)))
		text = append(text, s...)
	}
	number(m.MinTime, m.MaxTime, int64(m.Compaction.Level), m.Thanos.Downsample.Resolution)
	number(int64(m.Stats.NumSamples), int64(m.Stats.NumSeries), int64(m.Stats.NumChunks), int64(len(m.Thanos.Rewrites)))
	if !m.Thanos.UploadTime.IsZero() {
		number(m.Thanos.UploadTime.UnixNano())
	}
	if !written.IsZero() {
		word("written")
		number(written.UnixNano())
	}
	for _, f := range m.Thanos.Files {
		word(f.RelPath)
		number(f.SizeBytes)
		if hash := cmp.Or(f.Hash, &block.FileHash{}); hash.Value != "" {
			word(hash.Func + hash.Value)
		}
	}
	return hex.EncodeToString(binary.BigEndian.AppendUint64(nil, xxhash.Sum64(text)))
}
