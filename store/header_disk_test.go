package store

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/varve-tsdb/varve/internal/blocktest"
	"github.com/varve-tsdb/varve/objstore"
	"github.com/varve-tsdb/varve/objstore/filesystem"
)

// spoiling is a bucket that does something to the local disk before each read.
type spoiling struct {
	objstore.Bucket
	spoil func()
}

func (s *spoiling) GetRange(ctx context.Context, name string, off, length int64) (io.ReadCloser, error) {
	s.spoil()
	return s.Bucket.GetRange(ctx, name, off, length)
}

// A header that cannot be written is the disk's fault: nobody is told that the
// block's index is missing, the block is not quarantined, and it can be read as soon
// as there is room.
func TestHeaderThatCannotBeWritten(t *testing.T) {
	local, err := filesystem.NewBucket(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	id := blocktest.Put(t, local, blocktest.Block{
		External: labels.FromStrings("cluster", "eu"),
		Series:   []blocktest.Series{{Labels: labels.FromStrings("__name__", "one"), Samples: blocktest.Floats(0, 100, 10, 0)}},
	})
	dir, broken := t.TempDir(), true
	headers := filepath.Join(dir, id.String())
	b := openOver(t, &spoiling{local, func() {
		if broken {
			os.RemoveAll(headers) // what is written there is written to nowhere
		}
	}}, dir, Options{})

	_, _, err = read(t.Context(), b, 0, 99, equal("__name__", "one"))
	fault, ok := errors.AsType[*BlockError](err)
	if !ok || !errors.Is(err, ErrHeaderWrite) || errors.Is(err, ErrMissing) {
		t.Fatalf("error %v, want ErrHeaderWrite", err)
	}
	if fault.Object != filepath.Join(headers, headerFilename) || !fault.Retryable() || !fault.Unavailable() {
		t.Errorf("error %v, want it to name the local file, and to be worth another try", err)
	}
	broken = false
	mustRead(t, b, 0, 99, equal("__name__", "one"))
}
