package block

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// stage holds hard links of the block that is being uploaded, so that deleting
// the block meanwhile takes nothing away from the upload.
type stage struct{ dir string }

func stageOf(dir string) stage {
	return stage{dir: filepath.Join(dir, filepath.FromSlash(StageDirname))}
}

// clean removes what an earlier process left.
func (s stage) clean() error {
	if err := os.RemoveAll(s.dir); err != nil {
		return fmt.Errorf("clean %s: %w", s.dir, err)
	}
	return nil
}

// link returns a directory with the block's files, and a function that removes
// it again. On a file system without hard links it is the block's own
// directory.
func (s stage) link(block string) (dir string, remove func() error, err error) {
	dir = filepath.Join(s.dir, filepath.Base(block))
	remove = func() error { return os.RemoveAll(dir) }
	switch err = linkBlock(block, dir); {
	case err == nil:
		return dir, remove, nil
	case cannotLink(err):
		return block, func() error { return nil }, remove()
	case errors.Is(err, os.ErrNotExist):
		return "", nil, errors.Join(fmt.Errorf("%w: %w", ErrBroken, err), remove())
	default:
		return "", nil, errors.Join(err, remove())
	}
}

func cannotLink(err error) bool {
	for _, e := range []syscall.Errno{syscall.EXDEV, syscall.EPERM, syscall.ENOSYS, syscall.EMLINK, syscall.EOPNOTSUPP} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

func linkBlock(from, to string) error {
	if err := os.RemoveAll(to); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(to, ChunksDirname), 0o777); err != nil {
		return err
	}
	for _, rel := range []string{MetaFilename, IndexFilename} {
		if err := os.Link(filepath.Join(from, rel), filepath.Join(to, rel)); err != nil {
			return err
		}
	}
	segments, err := os.ReadDir(filepath.Join(from, ChunksDirname))
	if err != nil {
		return err
	}
	for _, e := range segments {
		rel := filepath.Join(ChunksDirname, e.Name())
		if err := os.Link(filepath.Join(from, rel), filepath.Join(to, rel)); err != nil {
			return err
		}
	}
	return nil
}
