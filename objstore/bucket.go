package objstore

import (
	"io"

	"github.com/thanos-io/objstore"

	"github.com/varve-tsdb/varve/objstore/internal/around"
)

// The vocabulary of buckets is that of github.com/thanos-io/objstore, by
// alias: every bucket written for that interface is one of ours. What this
// module relies on beyond the interface is in the package documentation and,
// as code, in objstoretest.TestBucket.
type (
	// Bucket reads and writes objects. All methods may run at once.
	Bucket = objstore.Bucket
	// BucketReader is the reading half of Bucket.
	BucketReader = objstore.BucketReader
	// InstrumentedBucket is a Bucket that can be told which failures are
	// expected. Every decorator of this package is one.
	InstrumentedBucket = objstore.InstrumentedBucket
	// InstrumentedBucketReader is the reading half of InstrumentedBucket.
	InstrumentedBucketReader = objstore.InstrumentedBucketReader
	// IsOpFailureExpectedFunc says that an error is no failure.
	IsOpFailureExpectedFunc = objstore.IsOpFailureExpectedFunc

	// ObjProvider names the kind of a bucket: S3, FILESYSTEM, ...
	ObjProvider = objstore.ObjProvider
	// ObjectAttributes are an object's size in bytes and its modification time.
	ObjectAttributes = objstore.ObjectAttributes
	// IterObjectAttributes is one entry of IterWithAttributes.
	IterObjectAttributes = objstore.IterObjectAttributes

	// IterOption changes what Iter and IterWithAttributes list.
	IterOption = objstore.IterOption
	// IterOptionType identifies an IterOption; see SupportedIterOptions.
	IterOptionType = objstore.IterOptionType
	// IterParams is what a list of IterOption amounts to.
	IterParams = objstore.IterParams

	// ObjectUploadOption changes how one object is stored.
	ObjectUploadOption = objstore.ObjectUploadOption
	// UploadObjectParams is what a list of ObjectUploadOption amounts to.
	UploadObjectParams = objstore.UploadObjectParams

	// ObjectSizer is implemented by readers that know how many bytes they
	// will give in all. Bodies of Get and GetRange usually do; an Upload reader
	// should, because several providers buffer what they cannot measure.
	ObjectSizer = objstore.ObjectSizer
	// ObjectSizerReadCloser adds a size to an io.ReadCloser.
	ObjectSizerReadCloser = objstore.ObjectSizerReadCloser
)

// DirDelim separates the elements of object names, and ends those entries of
// Iter that stand for a directory.
const DirDelim = objstore.DirDelim

// The operations of a bucket, as they are called in metrics, errors, accounts
// and logs. IterWithAttributes is OpIter.
const (
	OpIter       = objstore.OpIter
	OpGet        = objstore.OpGet
	OpGetRange   = objstore.OpGetRange
	OpExists     = objstore.OpExists
	OpUpload     = objstore.OpUpload
	OpDelete     = objstore.OpDelete
	OpAttributes = objstore.OpAttributes
)

// The two kinds of IterOption.
const (
	Recursive = objstore.Recursive
	UpdatedAt = objstore.UpdatedAt
)

// WithRecursiveIter lists all objects below the directory instead of its
// direct entries.
func WithRecursiveIter() IterOption { return objstore.WithRecursiveIter() }

// WithUpdatedAt asks IterWithAttributes for modification times. Directories
// may have none, and providers without it fail with ErrOptionNotSupported.
func WithUpdatedAt() IterOption { return objstore.WithUpdatedAt() }

// ApplyIterOptions folds options into one value.
func ApplyIterOptions(options ...IterOption) IterParams { return objstore.ApplyIterOptions(options...) }

// ValidateIterOptions fails with ErrOptionNotSupported when one of options is
// not among supported.
func ValidateIterOptions(supported []IterOptionType, options ...IterOption) error {
	return objstore.ValidateIterOptions(supported, options...)
}

// WithContentType stores an object under a media type, where the provider has
// such a thing.
func WithContentType(contentType string) ObjectUploadOption {
	return objstore.WithContentType(contentType)
}

// WithPrefix returns b seen through prefix: names get it put before them and
// lists have it taken off. Slashes around it are ignored; a prefix of nothing
// else returns b itself.
func WithPrefix(b Bucket, prefix string) Bucket { return objstore.NewPrefixedBucket(b, prefix) }

// ObjectSize returns how many bytes r, a body or an upload's reader that
// nothing was read from yet, has to give. It fails if r cannot tell.
func ObjectSize(r io.Reader) (int64, error) {
	n, ok := around.Size(r)
	if !ok {
		return 0, around.ErrNoSize
	}
	return n, nil
}
