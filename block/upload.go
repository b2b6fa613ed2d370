package block

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/prometheus/model/labels"
	"golang.org/x/sync/errgroup"

	"github.com/varve-tsdb/varve/objstore"
)

// These bound the removal of what a failed upload left. It is tried even after
// the caller's context has ended, but then a shutdown may be waiting.
const (
	cleanupTimeout         = 30 * time.Second
	canceledCleanupTimeout = 5 * time.Second
)

// UploadOptions of Upload. The zero value uploads a block whose meta.json has
// external labels already.
type UploadOptions struct {
	// Labels replaces the external labels in meta.json unless it is empty.
	Labels labels.Labels
	// Source replaces thanos.source in meta.json unless it is empty; see
	// SourceReceive and its siblings.
	Source string
	// Concurrency is how many chunk segments go up side by side. 0 means 4.
	Concurrency int
	// KeepPartial leaves the chunks and index that got into the bucket where
	// they are if the upload fails, for the next Upload of the block to go on
	// from. Without it those that this Upload sent are removed as well as
	// possible.
	KeepPartial bool
	// Logger gets what went wrong while cleaning up. nil is silent.
	Logger *slog.Logger

	// dated asks the bucket when it has written the block, for its index.
	dated bool
}

// Validate reports all problems at once.
func (o UploadOptions) Validate() error {
	if o.Concurrency < 0 {
		return fmt.Errorf("UploadOptions.Concurrency is %d, want 0 or more", o.Concurrency)
	}
	return nil
}

func (o UploadOptions) withDefaults() UploadOptions {
	if o.Concurrency == 0 {
		o.Concurrency = 4
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// Upload puts the local block in dir, a directory named by the block's ULID,
// into the bucket, and returns its meta.json as uploaded: with labels and
// source from opts, the list of files with their sizes, where the index has its
// sections (Meta.IndexSections), the sizes of its largest parts, and the upload time.
// The local directory is only read.
//
// A block that the bucket has already, with every file of its local size, is
// not touched, whatever opts say, and its meta.json there is returned.
//
// Chunks go first, then the index, and meta.json last: it is the commit point.
// Objects that an earlier attempt left with the right size are not sent again,
// and the meta.json of an incomplete block is taken away before anything under
// it changes. Each object's size is checked in the bucket before meta.json goes
// up, and meta.json is read back after. If anything fails, meta.json is removed
// first, then what this call sent unless opts.KeepPartial.
func Upload(ctx context.Context, bkt objstore.Bucket, dir string, opts UploadOptions) (*Meta, error) {
	if err := opts.Validate(); err != nil {
		return nil, err
	}
	opts = opts.withDefaults()
	m, err := uploadMeta(dir, opts)
	if err != nil {
		return nil, err
	}
	var e Entry
	there, err := listBlock(ctx, bkt, m.ULID)
	if err == nil {
		e, _, err = upload(ctx, bkt, dir, m, there, opts)
	}
	if err != nil {
		return nil, errorIn(filepath.Dir(dir), m.ULID, err)
	}
	return e.Meta, nil
}

// uploadMeta is the meta.json to be uploaded, except for the upload time.
func uploadMeta(dir string, opts UploadOptions) (*Meta, error) {
	m, err := ReadMetaDir(dir)
	if err != nil {
		return nil, err
	}
	files, err := localFiles(dir, m)
	if err != nil {
		return nil, err
	}
	if !opts.Labels.IsEmpty() {
		m.Thanos.Labels = opts.Labels.Map()
	}
	if opts.Source != "" {
		m.Thanos.Source = opts.Source
	}
	keepHashes(files, m.Thanos.Files)
	m.Thanos.Files = append(files, File{RelPath: MetaFilename})
	m.Thanos.SegmentFiles = nil
	m.Thanos.SegmentFiles = m.Segments()
	if err := m.noteIndexSections(filepath.Join(dir, IndexFilename)); err != nil {
		return nil, err
	}
	if err := m.ValidateUpload(); err != nil {
		return nil, err
	}
	return m, nil
}

// keepHashes carries over the checksums of files whose size has not changed.
func keepHashes(files, earlier []File) {
	for i := range files {
		for _, e := range earlier {
			if e.RelPath == files[i].RelPath && e.SizeBytes == files[i].SizeBytes {
				files[i].Hash = e.Hash
			}
		}
	}
}

// upload is one run of Upload, there being what the bucket already holds. If
// that is the whole block nothing is sent; else it uploads the block and sets the
// upload time of m. It returns what the index of the bucket is to be told.
func upload(ctx context.Context, bkt objstore.Bucket, dir string, m *Meta, there map[string]bool, opts UploadOptions) (e Entry, sent bool, err error) {
	if there[MetaFilename] {
		complete, err := readComplete(ctx, bkt, m)
		if err != nil || complete != nil {
			return Entry{ID: m.ULID, Meta: complete}, false, err
		}
	} else if there[DeletionMarkFilename] {
		return Entry{}, false, ErrBeingDeleted
	}
	if err := m.noteIndexStats(dir); err != nil {
		return Entry{}, false, err
	}
	u := &uploader{bkt: bkt, dir: dir, meta: m, there: there, opts: opts, sent: map[string]bool{}}
	if err := u.run(ctx); err != nil {
		u.cleanup(ctx)
		return Entry{}, false, err
	}
	u.entry.ID, u.entry.Meta = m.ULID, m
	return u.entry, true, nil
}

type uploader struct {
	bkt   objstore.Bucket
	dir   string
	meta  *Meta
	there map[string]bool
	opts  UploadOptions

	metaTouched bool  // meta.json may be in the bucket, though it should not
	entry       Entry // when the objects were written, if that was asked

	mu   sync.Mutex      // guards sent
	sent map[string]bool // what may have got into the bucket by this run
}

func (u *uploader) run(ctx context.Context) error {
	if u.there[MetaFilename] {
		if err := deleteObject(ctx, u.bkt, MetaObject(u.meta.ULID)); err != nil {
			return err
		}
	}
	chunks, ctxChunks := errgroup.WithContext(ctx)
	chunks.SetLimit(u.opts.Concurrency)
	for _, f := range u.meta.Thanos.Files {
		if _, ok := segmentOf(f.RelPath); ok {
			chunks.Go(func() error { return u.put(ctxChunks, f) })
		}
	}
	if err := chunks.Wait(); err != nil {
		return err
	}
	for _, f := range u.meta.Thanos.Files {
		if f.RelPath == IndexFilename {
			if err := u.put(ctx, f); err != nil {
				return err
			}
		}
	}
	return u.commit(ctx)
}

// put makes sure that the bucket has the file with its size.
func (u *uploader) put(ctx context.Context, f File) error {
	name := object(u.meta.ULID, f.RelPath)
	if u.there[f.RelPath] {
		if u.checkSize(ctx, name, f.SizeBytes) == nil {
			return nil
		}
	}
	u.mu.Lock()
	u.sent[f.RelPath] = true
	u.mu.Unlock()
	if err := u.send(ctx, name, f); err != nil {
		return fmt.Errorf("upload %s: %w", name, err)
	}
	return u.checkSize(ctx, name, f.SizeBytes)
}

func (u *uploader) send(ctx context.Context, name string, f File) error {
	// The bucket gets the file itself, so that its size is known, parts can
	// be read side by side, and a retry can start over.
	file, err := os.Open(filepath.Join(u.dir, filepath.FromSlash(f.RelPath)))
	if err != nil {
		return err
	}
	return errors.Join(u.bkt.Upload(ctx, name, file), file.Close())
}

func (u *uploader) checkSize(ctx context.Context, name string, want int64) error {
	return checkSize(ctx, u.bkt, name, want)
}

// commit uploads meta.json and reads it back.
func (u *uploader) commit(ctx context.Context) error {
	u.meta.Thanos.UploadTime = time.Now().UTC().Truncate(time.Millisecond)
	b, err := u.meta.Encode()
	if err != nil {
		return err
	}
	name := MetaObject(u.meta.ULID)
	u.metaTouched = true
	if err := u.bkt.Upload(ctx, name, bytes.NewReader(b)); err != nil {
		return fmt.Errorf("upload %s: %w", name, err)
	}
	// Before meta.json is read back: then its time is not of a later one.
	if u.opts.dated && tellsTimes(u.bkt) {
		u.entry = writtenAt(ctx, u.bkt, u.meta.ULID)
	}
	got, err := readObject(ctx, u.bkt, name)
	if err != nil {
		return fmt.Errorf("read back %s: %w", name, err)
	}
	if !bytes.Equal(got, b) {
		return fmt.Errorf("%w: the bucket returns %d other bytes for %s than the %d uploaded", ErrBroken, len(got), name, len(b))
	}
	return nil
}

// writtenAt returns an Entry with when the objects of a block were written, as far
// as a list tells.
func writtenAt(ctx context.Context, bkt objstore.BucketReader, id ulid.ULID) Entry {
	var e Entry
	err := iterDated(ctx, bkt, prefix(id), func(name string, written time.Time) {
		if rel, ok := strings.CutPrefix(name, prefix(id)); ok {
			e.wrote(rel, written)
		}
	})
	if err != nil {
		return Entry{} // a Reconcile will see
	}
	return e
}

// cleanup takes back what failed. It is best effort: without meta.json what
// remains is no block, and is swept in time.
func (u *uploader) cleanup(ctx context.Context) {
	timeout := cleanupTimeout
	if ctx.Err() != nil {
		timeout = canceledCleanupTimeout
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
	defer cancel()
	var err error
	if u.metaTouched {
		err = deleteObject(ctx, u.bkt, MetaObject(u.meta.ULID))
	}
	if err == nil && !u.opts.KeepPartial {
		// Only that: the rest is somebody else's, or may serve the next attempt.
		err = deleteObjects(ctx, u.bkt, u.meta.ULID, u.sent)
	}
	if err != nil {
		u.opts.Logger.Warn("could not remove what a failed upload left",
			"block", u.meta.ULID, "dir", filepath.Dir(u.dir), "err", err)
	}
}
