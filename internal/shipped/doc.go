// Package shipped knows the file in which a shipper notes, beside the blocks of
// a directory, which of them need no further upload. Whoever ships writes it,
// and whoever deletes local blocks reads it.
//
// Name and form are those of Thanos, and Prometheus can read it too
// (storage.tsdb.delay-compact-file.path):
//
//	{"version": 1, "uploaded": ["01JZ6XQ9G5ZC3V9D8R3T5Y7N2K"]}
package shipped
