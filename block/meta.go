package block

import (
	"encoding/json"
	"slices"
	"strconv"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/prometheus/model/labels"
)

// Version1 is the only known version of meta.json, of its thanos section and
// of the markers.
const Version1 = 1

// Values of Thanos.Source: who wrote the block.
const (
	SourceUnknown         = ""
	SourceSidecar         = "sidecar"
	SourceReceive         = "receive"
	SourceCompactor       = "compactor"
	SourceCompactorRepair = "compactor.repair"
	SourceRuler           = "ruler"
	SourceBucketRepair    = "bucket.repair"
	SourceBucketRewrite   = "bucket.rewrite"
	SourceBucketUpload    = "bucket.upload"
	SourceTest            = "test"
)

// Meta is the content of a block's meta.json: Prometheus' part and the thanos
// section. A Meta without that section has no labels and resolution 0.
//
// It must not change while it is shared; the metas of a View are shared.
type Meta struct {
	ULID ulid.ULID `json:"ulid"`
	// MinTime and MaxTime bound the samples, in milliseconds since the epoch,
	// half-open: MinTime is in the block, MaxTime is not.
	MinTime    int64      `json:"minTime"`
	MaxTime    int64      `json:"maxTime"`
	Stats      Stats      `json:"stats"`
	Compaction Compaction `json:"compaction"`
	Version    int        `json:"version"`
	Thanos     Thanos     `json:"thanos"`

	// Unknown holds top-level fields this package does not know. They
	// survive reading and writing.
	Unknown map[string]json.RawMessage `json:"-"`
}

// Stats counts what is in a block.
type Stats struct {
	NumSamples          uint64 `json:"numSamples,omitempty"`
	NumFloatSamples     uint64 `json:"numFloatSamples,omitempty"`
	NumHistogramSamples uint64 `json:"numHistogramSamples,omitempty"`
	NumSeries           uint64 `json:"numSeries,omitempty"`
	NumChunks           uint64 `json:"numChunks,omitempty"`
	NumTombstones       uint64 `json:"numTombstones,omitempty"`
}

// Compaction tells a block's ancestry.
type Compaction struct {
	// Level is 1 for a block cut from a head, and one more for each
	// generation of compaction after that.
	Level int `json:"level"`
	// Sources are the level-1 ancestors, sorted; a level-1 block is its own.
	Sources []ulid.ULID `json:"sources,omitempty"`
	// Deletable and Failed are notes of a local Prometheus to itself.
	Deletable bool `json:"deletable,omitempty"`
	// Parents are the blocks the compaction read.
	Parents []Parent `json:"parents,omitempty"`
	Failed  bool     `json:"failed,omitempty"`
	// Hints such as "from-out-of-order".
	Hints []string `json:"hints,omitempty"`
}

// Parent is a direct input of a compaction, with its half-open time range in
// milliseconds.
type Parent struct {
	ULID    ulid.ULID `json:"ulid"`
	MinTime int64     `json:"minTime"`
	MaxTime int64     `json:"maxTime"`
}

// Thanos is the section of meta.json that a block gets on its way into a
// bucket.
type Thanos struct {
	// Version is 0 (left out) or 1.
	Version int `json:"version,omitempty"`
	// Labels are the external labels: those of every series in the block.
	Labels     map[string]string `json:"labels"`
	Downsample Downsample        `json:"downsample"`
	// Source says who wrote the block; see SourceReceive and its siblings.
	Source string `json:"source"`
	// SegmentFiles names the files below chunks/: the older form of Files.
	SegmentFiles []string `json:"segment_files,omitempty"`
	// Files lists the objects of the block, sorted by RelPath.
	Files []File `json:"files,omitempty"`
	// Rewrites is the history of deletions and relabelings, kept as it is.
	Rewrites   []json.RawMessage `json:"rewrites,omitempty"`
	IndexStats IndexStats        `json:"index_stats"`
	// Extensions belongs to whoever wrote it, and is kept as it is.
	Extensions json.RawMessage `json:"extensions,omitempty"`
	// UploadTime is when meta.json was uploaded; zero if unknown.
	UploadTime time.Time `json:"upload_time,omitzero"`

	// Unknown holds fields of the section this package does not know. They
	// survive reading and writing.
	Unknown map[string]json.RawMessage `json:"-"`
}

// Downsample tells the distance of a block's samples.
type Downsample struct {
	// Resolution in milliseconds: 0 (raw), 300000 or 3600000.
	Resolution int64 `json:"resolution"`
}

// File is one object of a block.
type File struct {
	// RelPath is its name below the block's directory, with slashes.
	RelPath string `json:"rel_path"`
	// SizeBytes is 0 for meta.json, which cannot tell its own size.
	SizeBytes int64     `json:"size_bytes,omitempty"`
	Hash      *FileHash `json:"hash,omitempty"`
}

// FileHash is a checksum of a whole file. The only Func in use is HashSHA256.
type FileHash struct {
	Func  string `json:"hashFunc"`
	Value string `json:"value"` // hexadecimal
}

// HashSHA256 is the FileHash.Func of SHA-256.
const HashSHA256 = "SHA256"

// IndexStats helps a reader to guess how much to fetch. Zero is unknown.
type IndexStats struct {
	// SeriesMaxSize is the size of the largest series entry in bytes, as a whole.
	SeriesMaxSize int64 `json:"series_max_size,omitempty"`
	// ChunkMaxSize is the size of the largest chunk's record in bytes, as a whole.
	ChunkMaxSize int64 `json:"chunk_max_size,omitempty"`
}

// Labels returns the external labels, sorted by name.
func (m *Meta) Labels() labels.Labels { return labels.FromMap(m.Thanos.Labels) }

// Resolution is the distance between the samples of a downsampled block, and 0
// for a raw one.
func (m *Meta) Resolution() time.Duration {
	return time.Duration(m.Thanos.Downsample.Resolution) * time.Millisecond
}

// GroupKey names the stream and resolution a block belongs to: blocks with
// different keys never replace each other.
func (m *Meta) GroupKey() string {
	return strconv.FormatInt(m.Thanos.Downsample.Resolution, 10) + "@" + m.Labels().String()
}

// Overlaps tells whether the block may hold samples of the range from mint to
// maxt, both inclusive, in milliseconds.
func (m *Meta) Overlaps(mint, maxt int64) bool {
	return m.MinTime <= maxt && mint < m.MaxTime
}

// Bytes is the size of the block as far as meta.json tells, without meta.json
// itself. 0 means that meta.json lists no sizes.
func (m *Meta) Bytes() int64 {
	var sum int64
	for _, f := range m.Thanos.Files {
		sum += f.SizeBytes
	}
	return sum
}

// UploadedAt is when the block got into the bucket, or, where meta.json does
// not tell, when the block was made.
func (m *Meta) UploadedAt() time.Time {
	if t := m.Thanos.UploadTime; !t.IsZero() {
		return t
	}
	return ulid.Time(m.ULID.Time())
}

// Segments names the chunk segment files, without directory and in order, or
// nil if meta.json does not list them.
func (m *Meta) Segments() []string {
	var names []string
	for _, f := range m.Thanos.Files {
		if name, ok := segmentOf(f.RelPath); ok {
			names = append(names, name)
		}
	}
	if names == nil {
		names = slices.Clone(m.Thanos.SegmentFiles)
	}
	slices.Sort(names)
	return names
}
