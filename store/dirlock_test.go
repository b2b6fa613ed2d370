package store

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/varve-tsdb/varve/objstore/objstoretest"
)

// A directory is one Bucket's: the second of this process or of another is refused,
// until the first is closed or its process ends in whatever way.
func TestDirIsOneBuckets(t *testing.T) {
	if dir := os.Getenv(lockedDirEnv); dir != "" {
		_, err := Open(objstoretest.NewMemory(), dir, Options{})
		wantInUse(t, err, dir)
		return
	}
	dir := filepath.Join(t.TempDir(), "store")
	first, err := Open(objstoretest.NewMemory(), dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = Open(objstoretest.NewMemory(), dir, Options{})
	wantInUse(t, err, dir)
	child := exec.Command(os.Args[0], "-test.run=^TestDirIsOneBuckets$", "-test.v")
	child.Env = append(os.Environ(), lockedDirEnv+"="+dir)
	if out, err := child.CombinedOutput(); err != nil || !strings.Contains(string(out), "PASS") {
		t.Errorf("in another process: %v\n%s", err, out)
	}

	if err := errors.Join(first.Close(), first.Close()); err != nil {
		t.Fatal(err)
	}
	again, err := Open(objstoretest.NewMemory(), dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
	// A failure to open leaves nothing locked.
	if err := os.WriteFile(filepath.Join(dir, "metas"), nil, 0o666); err == nil {
		t.Fatal("there is no directory of metas")
	}
	if err := errors.Join(os.RemoveAll(filepath.Join(dir, "metas")), os.WriteFile(filepath.Join(dir, "metas"), nil, 0o666)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := Open(objstoretest.NewMemory(), dir, Options{}); err == nil || errors.Is(err, ErrDirInUse) {
			t.Errorf("error %v, want one about the directory of metas", err)
		}
	}
}

const lockedDirEnv = "VARVE_LOCKED_DIR"

func wantInUse(t *testing.T, err error, dir string) {
	t.Helper()
	if !errors.Is(err, ErrDirInUse) || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "of its own") {
		t.Errorf("error is %v, want an ErrDirInUse that names %s and what to do", err, dir)
	}
}
