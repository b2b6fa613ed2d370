package block

import (
	"testing"

	"github.com/oklog/ulid/v2"
)

func TestParseRootEntry(t *testing.T) {
	const id = "01JZ6XQ9G5ZC3V9D8R3T5Y7N2K"
	for name, want := range map[string]bool{
		id + "/":                      true,
		id:                            false, // an object, not a directory
		"prefix/" + id + "/":          true,
		"01jz6xq9g5zc3v9d8r3t5y7n2k/": false, // not what its ULID prints as
		id + "X/":                     false,
		id[1:] + "/":                  false,
		"81JZ6XQ9G5ZC3V9D8R3T5Y7N2K/": false, // overflows
		"01JZ6XQ9G5ZC3V9D8R3T5Y7NIL/": false, // letters that are in no ULID
		"debug/":                      false,
		"varve/":                      false,
		"/":                           false,
		"":                            false,
		id + ".tmp/":                  false,
		"../" + id + "/..":            false,
	} {
		got, ok := ParseRootEntry(name)
		if ok != want || ok && got.String() != id {
			t.Errorf("%q is block %s, %t; want %t", name, got, ok, want)
		}
	}
}

func TestObjectNames(t *testing.T) {
	id := ulid.MustParseStrict("01JZ6XQ9G5ZC3V9D8R3T5Y7N2K")
	for got, want := range map[string]string{
		MetaObject(id):                   "01JZ6XQ9G5ZC3V9D8R3T5Y7N2K/meta.json",
		IndexObject(id):                  "01JZ6XQ9G5ZC3V9D8R3T5Y7N2K/index",
		ChunksObject(id, 1):              "01JZ6XQ9G5ZC3V9D8R3T5Y7N2K/chunks/000001",
		ChunksObject(id, 1234567):        "01JZ6XQ9G5ZC3V9D8R3T5Y7N2K/chunks/1234567",
		MarkObject(id, DeletionMark):     "01JZ6XQ9G5ZC3V9D8R3T5Y7N2K/deletion-mark.json",
		MarkObject(id, NoCompactMark):    "01JZ6XQ9G5ZC3V9D8R3T5Y7N2K/no-compact-mark.json",
		MarkObject(id, NoDownsampleMark): "01JZ6XQ9G5ZC3V9D8R3T5Y7N2K/no-downsample-mark.json",
	} {
		if got != want {
			t.Errorf("%s, want %s", got, want)
		}
		if gotID, rel, ok := ParseObject(got); !ok || gotID != id || object(gotID, rel) != got {
			t.Errorf("%s parses as %s, %s, %t", got, gotID, rel, ok)
		}
	}
	for _, name := range []string{"", "/", id.String(), id.String() + "/", "x/" + MetaObject(id), "debug/metas/" + id.String() + ".json"} {
		if gotID, rel, ok := ParseObject(name); ok {
			t.Errorf("%q is %s of block %s, want none", name, rel, gotID)
		}
	}
}
