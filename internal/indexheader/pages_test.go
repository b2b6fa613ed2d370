package indexheader

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"pgregory.net/rapid"
)

// A bit that is lost after a file was opened ends the reads of what lies around it,
// and no others.
func TestPages(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.IntRange(1, 3*windowSize).Draw(t, "size")
		content := make([]byte, size)
		for i := range content {
			content[i] = byte(i * i >> 3)
		}
		p, err := sumPages(bytes.NewReader(content), int64(size))
		if err != nil {
			t.Fatal(err)
		}
		from := rapid.IntRange(0, size).Draw(t, "from")
		got := make([]byte, rapid.IntRange(0, size-from).Draw(t, "length"))
		if n, err := p.ReadAt(got, int64(from)); n != len(got) || err != nil || !bytes.Equal(got, content[from:from+n]) {
			t.Fatalf("read %d bytes, %v", n, err)
		}
		lost := rapid.IntRange(0, size-1).Draw(t, "lost")
		content[lost] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		_, err = p.ReadAt(got, int64(from))
		hit := len(got) > 0 && lost/pageSize >= from/pageSize && lost/pageSize <= (from+len(got)-1)/pageSize
		if errors.As(err, new(*CorruptError)) != hit || (err != nil) != hit {
			t.Fatalf("byte %d is lost, reading %d at %d: %v", lost, len(got), from, err)
		}
		if _, err := p.ReadAt(make([]byte, size), 1); !errors.Is(err, io.EOF) {
			t.Fatalf("beyond the end: %v", err)
		}
	})
}
