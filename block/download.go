package block

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/oklog/ulid/v2"
	"golang.org/x/sync/errgroup"

	"github.com/varve-tsdb/varve/internal/durable"
	"github.com/varve-tsdb/varve/objstore"
)

// DownloadOptions of Download. The zero value is the default.
type DownloadOptions struct {
	// Concurrency is how many files come down side by side. 0 means 4.
	Concurrency int
}

// Validate reports all problems at once.
func (o DownloadOptions) Validate() error {
	if o.Concurrency < 0 {
		return fmt.Errorf("DownloadOptions.Concurrency is %d, want 0 or more", o.Concurrency)
	}
	return nil
}

// Download copies a complete block from the bucket to the directory named by
// its ULID below parent, and returns its meta.json. Markers are left out.
//
// meta.json is written last: without it the local directory is no block. A
// download that was cut off goes on where it was when it is repeated; files
// that are there with the right size stay. Sizes are those that meta.json
// lists or, where it lists none, those that the bucket tells; where meta.json
// lists a checksum, that is checked too. What is missing or differs is an
// ErrBroken that names the object.
func Download(ctx context.Context, bkt objstore.BucketReader, id ulid.ULID, parent string, opts DownloadOptions) (*Meta, error) {
	if err := opts.Validate(); err != nil {
		return nil, err
	}
	if opts.Concurrency == 0 {
		opts.Concurrency = 4
	}
	m, raw, err := readMeta(ctx, bkt, id)
	if err != nil {
		return nil, err
	}
	files, err := remoteFiles(ctx, bkt, m)
	if err != nil {
		return nil, err
	}
	d := downloader{bkt: bkt, id: id, dir: filepath.Join(parent, id.String())}
	if err := d.run(ctx, files, raw, opts.Concurrency); err != nil {
		return nil, blockError(id, err)
	}
	return m, nil
}

// remoteFiles lists the files to download, with their sizes.
func remoteFiles(ctx context.Context, bkt objstore.BucketReader, m *Meta) ([]File, error) {
	files := slices.Clone(m.Thanos.Files)
	if len(files) == 0 {
		there, err := listBlock(ctx, bkt, m.ULID)
		if err != nil {
			return nil, err
		}
		for rel := range there {
			if _, chunk := segmentOf(rel); chunk || rel == IndexFilename {
				files = append(files, File{RelPath: rel})
			}
		}
	}
	files = slices.DeleteFunc(files, func(f File) bool { return f.RelPath == MetaFilename })
	slices.SortFunc(files, func(a, b File) int { return strings.Compare(a.RelPath, b.RelPath) })
	files = slices.CompactFunc(files, func(a, b File) bool { return a.RelPath == b.RelPath })
	for i, f := range files {
		if err := checkRelPath(m.ULID, f.RelPath); err != nil {
			return nil, err
		}
		if f.SizeBytes > 0 {
			continue
		}
		attrs, err := bkt.Attributes(ctx, object(m.ULID, f.RelPath))
		if err != nil {
			return nil, blockError(m.ULID, missing(bkt, object(m.ULID, f.RelPath), err))
		}
		files[i].SizeBytes = attrs.Size
	}
	return files, nil
}

// missing turns an object that is not there into an ErrBroken.
func missing(bkt objstore.BucketReader, name string, err error) error {
	if objstore.IsNotFound(bkt, err) {
		return fmt.Errorf("%w: object %s is missing", ErrBroken, name)
	}
	return fmt.Errorf("object %s: %w", name, err)
}

type downloader struct {
	bkt objstore.BucketReader
	id  ulid.ULID
	dir string
}

func (d downloader) run(ctx context.Context, files []File, meta []byte, concurrency int) error {
	if err := os.MkdirAll(filepath.Join(d.dir, ChunksDirname), 0o777); err != nil {
		return err
	}
	// While files change underneath, the directory must not pass for a block.
	if old, err := os.ReadFile(filepath.Join(d.dir, MetaFilename)); err != nil || !bytes.Equal(old, meta) {
		if err := durable.RemoveIfThere(filepath.Join(d.dir, MetaFilename)); err != nil {
			return err
		}
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(concurrency)
	for _, f := range files {
		g.Go(func() error { return d.get(ctx, f) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	if err := durable.SyncDir(filepath.Join(d.dir, ChunksDirname)); err != nil {
		return err
	}
	if err := durable.ReplaceFile(filepath.Join(d.dir, MetaFilename), meta); err != nil {
		return err
	}
	return durable.SyncDir(filepath.Dir(d.dir))
}

// get downloads one file under a temporary name, and gives it its own name
// once it is whole.
func (d downloader) get(ctx context.Context, f File) (err error) {
	path := filepath.Join(d.dir, filepath.FromSlash(f.RelPath))
	if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Size() == f.SizeBytes {
		if checkHash(path, f.Hash) == nil {
			return nil
		}
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return err
	}
	tmp := path + durable.TmpSuffix
	defer func() {
		if err != nil {
			err = errors.Join(err, durable.RemoveIfThere(tmp))
		}
	}()
	name := object(d.id, f.RelPath)
	n, err := d.copy(ctx, name, tmp, f.SizeBytes+1)
	if err != nil {
		return err
	}
	if n > f.SizeBytes {
		return fmt.Errorf("%w: object %s has more than the %d bytes it should have", ErrBroken, name, f.SizeBytes)
	}
	if n < f.SizeBytes {
		return fmt.Errorf("%w: object %s has %d bytes, want %d", ErrBroken, name, n, f.SizeBytes)
	}
	if err := checkHash(tmp, f.Hash); err != nil {
		return fmt.Errorf("object %s: %w", name, err)
	}
	return os.Rename(tmp, path)
}

// copy reads no more than limit bytes, so that a wrong object under a block's
// name cannot fill the disk.
func (d downloader) copy(ctx context.Context, name, tmp string, limit int64) (int64, error) {
	r, err := d.bkt.Get(ctx, name)
	if err != nil {
		return 0, missing(d.bkt, name, err)
	}
	file, err := os.Create(tmp)
	if err != nil {
		return 0, errors.Join(err, r.Close())
	}
	n, err := io.Copy(file, io.LimitReader(r, limit))
	if err != nil {
		err = fmt.Errorf("object %s: %w", name, err)
	} else {
		err = file.Sync()
	}
	return n, errors.Join(err, file.Close(), r.Close())
}

// checkHash compares a file with its checksum. Without one, or with one of an
// unknown kind, any file will do.
func checkHash(path string, hash *FileHash) error {
	if hash == nil || hash.Func != HashSHA256 {
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	h := sha256.New()
	if _, err = io.Copy(h, f); err != nil {
		return errors.Join(err, f.Close())
	}
	if got := hex.EncodeToString(h.Sum(nil)); !strings.EqualFold(got, hash.Value) {
		err = fmt.Errorf("%w: SHA-256 is %s, want %s", ErrBroken, got, hash.Value)
	}
	return errors.Join(err, f.Close())
}
