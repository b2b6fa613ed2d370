package grpcwire

import (
	"bytes"
	"strings"
	"testing"

	"github.com/golang/snappy"
)

func TestSnappyIsFramed(t *testing.T) {
	data := []byte(strings.Repeat("a series and another ", 10_000))
	var ours, theirs bytes.Buffer
	if err := new(SnappyCompressor).Do(&ours, data); err != nil {
		t.Fatal(err)
	}
	var read bytes.Buffer
	if _, err := read.ReadFrom(snappy.NewReader(&ours)); err != nil || !bytes.Equal(read.Bytes(), data) {
		t.Errorf("golang/snappy reads %d bytes of %d (%v)", read.Len(), len(data), err)
	}
	w := snappy.NewBufferedWriter(&theirs)
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	w.Close()
	d := &SnappyDecompressor{Limit: len(data)}
	for range 2 { // the second with what the first has left in the pool
		if got, err := d.Do(bytes.NewReader(theirs.Bytes())); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%d bytes of %d (%v)", len(got), len(data), err)
		}
	}
	d.Limit = 1000
	if got, err := d.Do(bytes.NewReader(theirs.Bytes())); err != nil || len(got) != 1001 {
		t.Errorf("%d bytes beyond a limit of 1000 (%v)", len(got), err)
	}
	d.Strict = true
	if got, err := d.Do(bytes.NewReader(theirs.Bytes())); err == nil || !strings.Contains(err.Error(), "1000 bytes") {
		t.Errorf("%d bytes beyond a strict limit (%v)", len(got), err)
	}
	if _, err := d.Do(strings.NewReader("not snappy at all")); err == nil {
		t.Error("what is not snappy was decompressed")
	}
}
