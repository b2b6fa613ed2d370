package block

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/oklog/ulid/v2"
)

// segmentOf tells the segment file's name of "chunks/<name>".
func segmentOf(rel string) (string, bool) {
	name, ok := strings.CutPrefix(rel, ChunksDirname+"/")
	return name, ok && name != "" && !strings.Contains(name, "/")
}

// localFiles lists the chunk segments and the index of a local block with
// their sizes, sorted by name. It is an ErrBroken if one is missing, if the
// segments have a gap, or if sizes differ from those that meta.json names.
func localFiles(dir string, m *Meta) ([]File, error) {
	segments, err := localSegments(filepath.Join(dir, ChunksDirname))
	if err != nil {
		return nil, localError(dir, m.ULID, err)
	}
	if len(segments) == 0 && m.Stats.NumChunks > 0 {
		return nil, localError(dir, m.ULID, fmt.Errorf("%w: no chunk segments, but meta.json counts %d chunks",
			ErrBroken, m.Stats.NumChunks))
	}
	index, err := localFile(dir, IndexFilename)
	if err != nil {
		return nil, localError(dir, m.ULID, err)
	}
	files := append(segments, index)
	if err := compareFiles(files, m.Thanos.Files); err != nil {
		return nil, localError(dir, m.ULID, err)
	}
	return files, nil
}

func localSegments(dir string) ([]File, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	var files []File
	for _, e := range entries {
		// Anything else is none of the block's, as for Prometheus.
		if n, err := strconv.ParseUint(e.Name(), 10, 32); err != nil || SegmentName(int(n)) != e.Name() {
			continue
		}
		if want := SegmentName(len(files) + 1); e.Name() != want {
			return nil, fmt.Errorf("%w: chunk segment %s is missing, but there is %s", ErrBroken, want, e.Name())
		}
		f, err := localFile(filepath.Dir(dir), ChunksDirname+"/"+e.Name())
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	return files, nil
}

func localFile(dir, rel string) (File, error) {
	info, err := os.Stat(filepath.Join(dir, filepath.FromSlash(rel)))
	if err != nil {
		if errors.Is(err, os.ErrNotExist) {
			err = fmt.Errorf("%w: %s is missing: %w", ErrBroken, rel, err)
		}
		return File{}, err
	}
	if !info.Mode().IsRegular() || info.Size() == 0 {
		return File{}, fmt.Errorf("%w: %s is empty or no file", ErrBroken, rel)
	}
	return File{RelPath: rel, SizeBytes: info.Size()}, nil
}

// compareFiles holds the files found to those that meta.json listed when the
// block was last in a bucket; most local blocks list none.
func compareFiles(found, listed []File) error {
	for _, want := range listed {
		i := slices.IndexFunc(found, func(f File) bool { return f.RelPath == want.RelPath })
		switch {
		case want.SizeBytes == 0:
		case i < 0:
			return fmt.Errorf("%w: %s is missing", ErrBroken, want.RelPath)
		case found[i].SizeBytes != want.SizeBytes:
			return fmt.Errorf("%w: %s has %d bytes, want %d", ErrBroken, want.RelPath, found[i].SizeBytes, want.SizeBytes)
		}
	}
	return nil
}

// checkRelPath refuses names in meta.json that would leave the block's
// directory.
func checkRelPath(id ulid.ULID, rel string) error {
	if path.Clean(rel) != rel || rel == "." || strings.Contains(rel, `\`) || !filepath.IsLocal(filepath.FromSlash(rel)) {
		return blockError(id, fmt.Errorf("%w: thanos.files lists %q, which is no path below the block", ErrMetaInvalid, rel))
	}
	return nil
}
