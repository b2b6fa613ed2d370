package block

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/varve-tsdb/varve/internal/indexheader"
)

// noteIndexStats notes the sizes of the largest series entry and chunk of the local
// block in dir. It reads the series of the index, which is quick beside their
// upload. Of an index that cannot be read that way nothing is noted: that is for
// its readers to find out.
func (m *Meta) noteIndexStats(dir string) error {
	path := filepath.Join(dir, IndexFilename)
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close() // nothing was written
	info, err := f.Stat()
	if err != nil {
		return err
	}
	var segments []int64
	for _, file := range m.Thanos.Files {
		if _, ok := segmentOf(file.RelPath); ok {
			segments = append(segments, file.SizeBytes)
		}
	}
	stats, err := indexheader.ReadStats(f, info.Size(), segments)
	if errors.As(err, new(*indexheader.CorruptError)) || errors.As(err, new(*indexheader.UnsupportedError)) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	m.Thanos.IndexStats = IndexStats(stats)
	return nil
}
