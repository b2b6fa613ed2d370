package block

import (
	"context"
	"errors"
	"fmt"

	"github.com/varve-tsdb/varve/objstore"
)

// readComplete returns the meta.json that the bucket has of a local block if it
// has the block whole: that file readable, and each local file with its size,
// which is also the size that meta.json lists. For anything less, which is to
// be uploaded again, it returns nil.
func readComplete(ctx context.Context, bkt objstore.BucketReader, local *Meta) (*Meta, error) {
	remote, err := ReadMeta(ctx, bkt, local.ULID)
	if errors.Is(err, ErrMetaInvalid) || errors.Is(err, ErrMetaNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if compareFiles(local.Thanos.Files, remote.Thanos.Files) != nil {
		return nil, nil
	}
	for _, f := range local.Thanos.Files {
		if f.RelPath == MetaFilename {
			continue
		}
		err := checkSize(ctx, bkt, object(local.ULID, f.RelPath), f.SizeBytes)
		if errors.Is(err, ErrBroken) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
	}
	return remote, nil
}

// checkSize is an ErrBroken unless the object is there with the size.
func checkSize(ctx context.Context, bkt objstore.BucketReader, name string, want int64) error {
	attrs, err := bkt.Attributes(ctx, name)
	if err != nil {
		if objstore.IsNotFound(bkt, err) {
			return fmt.Errorf("%w: object %s is missing", ErrBroken, name)
		}
		return fmt.Errorf("attributes of %s: %w", name, err)
	}
	if attrs.Size != want {
		return fmt.Errorf("%w: object %s has %d bytes, want %d", ErrBroken, name, attrs.Size, want)
	}
	return nil
}
