package block

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/oklog/ulid/v2"

	"github.com/varve-tsdb/varve/internal/durable"
	"github.com/varve-tsdb/varve/objstore"
)

// maxSmallObject bounds what is read of a meta.json or marker, so that a wrong
// object under its name cannot fill the memory. A meta.json that lists ten
// thousand segments has two megabytes.
const maxSmallObject = 64 << 20

// ReadMeta reads and checks the meta.json of a block in a bucket. A block
// without one is an ErrMetaNotFound, an unusable one an ErrMetaInvalid; any
// other error is the bucket's, and may pass.
func ReadMeta(ctx context.Context, bkt objstore.BucketReader, id ulid.ULID) (*Meta, error) {
	m, _, err := readMeta(ctx, bkt, id)
	return m, err
}

func readMeta(ctx context.Context, bkt objstore.BucketReader, id ulid.ULID) (*Meta, []byte, error) {
	b, err := readObject(ctx, bkt, MetaObject(id))
	if err != nil {
		if objstore.IsNotFound(bkt, err) {
			err = ErrMetaNotFound
		}
		return nil, nil, blockError(id, err)
	}
	m, err := parseMetaOf(id, b)
	if err != nil {
		return nil, nil, blockError(id, err)
	}
	return m, b, nil
}

// ReadMetaDir reads and checks the meta.json of a local block, whose directory
// is named by its ULID. Errors are as those of ReadMeta.
func ReadMetaDir(dir string) (*Meta, error) {
	id, ok := parseULID(filepath.Base(dir))
	if !ok {
		return nil, fmt.Errorf("directory %s is not named by a ULID, so it is no block", dir)
	}
	b, err := os.ReadFile(filepath.Join(dir, MetaFilename))
	if err != nil {
		if os.IsNotExist(err) {
			err = fmt.Errorf("%w: %w", ErrMetaNotFound, err)
		}
		return nil, localError(dir, id, err)
	}
	m, err := parseMetaOf(id, b)
	if err != nil {
		return nil, localError(dir, id, err)
	}
	return m, nil
}

// WriteMetaDir writes m as the meta.json of the local block in dir, durably
// and in one step.
func WriteMetaDir(dir string, m *Meta) error {
	b, err := m.Encode()
	if err != nil {
		return err
	}
	return durable.ReplaceFile(filepath.Join(dir, MetaFilename), b)
}

func parseMetaOf(id ulid.ULID, b []byte) (*Meta, error) {
	m, err := ParseMeta(b)
	if err != nil {
		return nil, err
	}
	if err := m.checkID(id); err != nil {
		return nil, err
	}
	return m, nil
}

// localError names a local block by its directory.
func localError(dir string, id ulid.ULID, err error) error {
	return &Error{ID: id, Dir: filepath.Dir(dir), Err: err}
}

// readObject reads a small object. A transfer that ends early is an error of
// its own (objstore.ErrTruncated), so that it is not taken for a broken object.
func readObject(ctx context.Context, bkt objstore.BucketReader, name string) ([]byte, error) {
	r, err := bkt.Get(ctx, name)
	if err != nil {
		return nil, err
	}
	return readBody(name, r)
}

// readBody reads a small object whose body is open, and closes that.
func readBody(name string, r io.ReadCloser) ([]byte, error) {
	size, sizeErr := objstore.ObjectSize(r)
	b, err := readSmall(r, size)
	if err := errors.Join(err, r.Close()); err != nil {
		return nil, err
	}
	if len(b) > maxSmallObject {
		return nil, fmt.Errorf("object %s is larger than %d bytes", name, maxSmallObject)
	}
	if sizeErr == nil && int64(len(b)) < size {
		return nil, fmt.Errorf("object %s: %w: got %d bytes of %d", name, objstore.ErrTruncated, len(b), size)
	}
	return b, nil
}

// readSmall reads all of r, but not much more than maxSmallObject, into memory
// of the size it announces.
func readSmall(r io.Reader, size int64) ([]byte, error) {
	// Beyond the size is room to find the end without growing.
	b := bytes.NewBuffer(make([]byte, 0, max(0, min(size, maxSmallObject))+bytes.MinRead))
	_, err := b.ReadFrom(io.LimitReader(r, maxSmallObject+1))
	return b.Bytes(), err
}
