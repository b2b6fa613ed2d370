package store

import (
	"fmt"
	"path/filepath"

	"github.com/prometheus/prometheus/tsdb/fileutil"
)

// lockFilename is the file in the directory that one Bucket holds locked. It stays
// there, for removing it would race with who locks it next.
const lockFilename = ".varve.lock"

// lockDir makes the directory one Bucket's own. The lock ends with the process,
// however that ends.
func lockDir(dir string) (fileutil.Releaser, error) {
	lock, _, err := fileutil.Flock(filepath.Join(dir, lockFilename))
	if err != nil {
		return nil, fmt.Errorf("directory %s: %w: %w", dir, ErrDirInUse, err)
	}
	return lock, nil
}
