package block

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/oklog/ulid/v2"

	"github.com/varve-tsdb/varve/objstore"
)

// Delete removes a block from the bucket: meta.json first, so that no reader
// takes it for complete any more; then all else; the deletion mark last, so
// that a deletion that was cut off is known for one. It can be repeated, and
// deleting what is not there is no error.
//
// Whether the block may be deleted, and for how long it has been marked, is
// the caller's business.
func Delete(ctx context.Context, bkt objstore.Bucket, id ulid.ULID) error {
	there, err := listBlock(ctx, bkt, id)
	if err != nil {
		return err
	}
	return deleteObjects(ctx, bkt, id, there)
}

// deleteObjects deletes in the order of Delete.
func deleteObjects(ctx context.Context, bkt objstore.Bucket, id ulid.ULID, there map[string]bool) error {
	rels := slices.SortedFunc(maps.Keys(there), func(a, b string) int {
		if d := deleteRank(a) - deleteRank(b); d != 0 {
			return d
		}
		return strings.Compare(a, b)
	})
	for _, rel := range rels {
		if err := deleteObject(ctx, bkt, object(id, rel)); err != nil {
			return blockError(id, err)
		}
	}
	return nil
}

func deleteRank(rel string) int {
	switch {
	case rel == MetaFilename:
		return 0
	case rel == "" || strings.HasSuffix(rel, "/"):
		return 3 // objects that some tools put to stand for a directory
	case rel == DeletionMarkFilename:
		return 2
	default:
		return 1
	}
}

// deleteObject is no error if the object is not there.
func deleteObject(ctx context.Context, bkt objstore.Bucket, name string) error {
	if err := bkt.Delete(ctx, name); err != nil && !objstore.IsNotFound(bkt, err) {
		return fmt.Errorf("delete %s: %w", name, err)
	}
	return nil
}

// listBlock lists the objects of one block by their names below its directory.
func listBlock(ctx context.Context, bkt objstore.BucketReader, id ulid.ULID) (map[string]bool, error) {
	there := map[string]bool{}
	err := bkt.Iter(ctx, prefix(id), func(name string) error {
		if rel, ok := strings.CutPrefix(name, prefix(id)); ok {
			there[rel] = true
		}
		return nil
	}, objstore.WithRecursiveIter())
	if err != nil {
		return nil, blockError(id, fmt.Errorf("list objects: %w", err))
	}
	return there, nil
}
