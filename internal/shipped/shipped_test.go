package shipped_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/oklog/ulid/v2"

	"github.com/varve-tsdb/varve/internal/shipped"
)

func write(t *testing.T, dir, content string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, shipped.Filename), []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestReadsWhatIsEncoded(t *testing.T) {
	a, b := ulid.MustParse("01JZ6XQ9G5ZC3V9D8R3T5Y7N2K"), ulid.MustParse("01JZ6XQ9G5ZC3V9D8R3T5Y7N2M")
	for _, want := range []map[ulid.ULID]bool{{}, {a: true}, {b: true, a: true}} {
		content, err := shipped.Encode(want)
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		write(t, dir, string(content))
		got, err := shipped.Read(dir)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}

func TestReadNothing(t *testing.T) {
	if done, err := shipped.Read(t.TempDir()); done != nil || err != nil {
		t.Errorf("without a file: %v, %v", done, err)
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, shipped.Filename), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := shipped.Read(dir); err == nil || errors.Is(err, shipped.ErrInvalid) {
		t.Errorf("what cannot be read may be valid: %v", err)
	}
}

func TestReadInvalid(t *testing.T) {
	for name, content := range map[string]string{
		"empty": "", "torn": `{"version":1,"uploaded":["01J`, "version": `{"version":2}`, "null": "null",
		"list": "[]", "no ULID": `{"version":1,"uploaded":["x"]}`,
	} {
		dir := t.TempDir()
		write(t, dir, content)
		_, err := shipped.Read(dir)
		if !errors.Is(err, shipped.ErrInvalid) || !strings.Contains(err.Error(), dir) {
			t.Errorf("%s: %v, want an ErrInvalid that names the file", name, err)
		}
	}
}
