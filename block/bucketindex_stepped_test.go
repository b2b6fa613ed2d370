package block

import (
	"context"
	"io"

	"github.com/varve-tsdb/varve/objstore"
)

// stepped is the bucket as one actor sees it: each request waits for its turn,
// and a list is many requests, as it is for storage with large directories.
type stepped struct {
	objstore.Bucket
	w     *indexWorld
	actor string
}

func (b stepped) wait(what string) error {
	s := &indexStep{actor: b.actor, what: what, turn: make(chan error)}
	b.w.mu.Lock()
	b.w.waiting = append(b.w.waiting, s)
	b.w.mu.Unlock()
	return <-s.turn
}

func (b stepped) Iter(ctx context.Context, dir string, f func(string) error, options ...objstore.IterOption) error {
	return b.IterWithAttributes(ctx, dir, func(attrs objstore.IterObjectAttributes) error { return f(attrs.Name) }, options...)
}

func (b stepped) IterWithAttributes(ctx context.Context, dir string, f func(objstore.IterObjectAttributes) error, options ...objstore.IterOption) error {
	page := 1
	if dir == "" {
		page = b.w.page
	}
	for last, more := "", true; more; {
		if err := b.wait("list " + dir); err != nil {
			return err
		}
		var names []objstore.IterObjectAttributes
		if err := b.Bucket.IterWithAttributes(ctx, dir, func(attrs objstore.IterObjectAttributes) error {
			if attrs.Name > last {
				names = append(names, attrs)
			}
			return nil
		}, options...); err != nil {
			return err
		}
		more = len(names) > page
		for _, attrs := range names[:min(page, len(names))] {
			last = attrs.Name
			if err := f(attrs); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b stepped) Get(ctx context.Context, name string) (io.ReadCloser, error) {
	if err := b.wait("get " + name); err != nil {
		return nil, err
	}
	return b.Bucket.Get(ctx, name)
}

func (b stepped) Upload(ctx context.Context, name string, r io.Reader, options ...objstore.ObjectUploadOption) error {
	if err := b.wait("upload " + name); err != nil {
		return err
	}
	return b.Bucket.Upload(ctx, name, r, options...)
}

func (b stepped) Delete(ctx context.Context, name string) error {
	if err := b.wait("delete " + name); err != nil {
		return err
	}
	return b.Bucket.Delete(ctx, name)
}
