package indexheader

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// failingIndex breaks off in the middle of each read.
type failingIndex struct {
	memIndex
	err error
}

func (f *failingIndex) ReadRange(ctx context.Context, off, length int64) (io.ReadCloser, error) {
	r, err := f.memIndex.ReadRange(ctx, off, length/2)
	return io.NopCloser(io.MultiReader(r, failingReader{f.err})), err
}

type failingReader struct{ err error }

func (f failingReader) Read([]byte) (int, error) { return 0, f.err }

// Who reads the error must know whether to look at the bucket or at the disk.
func TestErrorsSayWhoseTheyAre(t *testing.T) {
	small := realIndex(t, 100)
	large := realIndex(t, 20_000)
	away := errors.New("the bucket is away")
	for name, b := range map[string][]byte{"small": small, "large": large} {
		index := &failingIndex{memIndex{b: b}, away}
		_, err := Build(t.Context(), index, filepath.Join(t.TempDir(), "index-header"), BuildOptions{})
		if !errors.Is(err, away) || errors.As(err, new(*LocalError)) || strings.Contains(err.Error(), "write") {
			t.Errorf("%s, of the bucket: %v", name, err)
		}

		path := filepath.Join(t.TempDir(), "none", "index-header")
		_, err = Build(t.Context(), &memIndex{b: b}, path, BuildOptions{})
		if !errors.As(err, new(*LocalError)) || !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s, without a directory: %v", name, err)
		}

		// A file that takes nothing, as on a full disk.
		path = filepath.Join(t.TempDir(), "draft")
		if err := os.WriteFile(path, nil, 0o666); err != nil {
			t.Fatal(err)
		}
		file, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		err = fill(t.Context(), &memIndex{b: b}, int64(len(b)), BuildOptions{}, &draft{file})
		if !errors.As(err, new(*LocalError)) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s, of the disk: %v", name, err)
		}
	}
}
