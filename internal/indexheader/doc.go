// Package indexheader keeps a local extract of a block's index: the symbol
// table and the postings offset table, which every query of the block needs,
// without the series and postings lists in between, which are read from the
// bucket in the ranges that a query asks for.
//
// # Format
//
// The file is Thanos' binary index header, format version 1, so that a
// directory of headers written by either program serves the other. All numbers
// are big-endian:
//
//	offset  size  content
//	0       4     magic 0xBAAAD792
//	4       1     header format version: 1
//	5       1     version of the index: 2
//	6       8     offset of the postings offset table in the index
//	14      n     the index from its symbols to its series: the symbol table
//	14+n    m     the index from its postings offset table to its end, with its TOC
//	14+n+m  8     position of the symbol table in this file: 14
//	        8     position of the postings offset table in this file: 14+n
//	        4     CRC-32 (Castagnoli) of these two
//
// Index version 1, which Prometheus wrote before 2.0 was released, orders its
// postings differently and is refused, as is version 3, which has no stable
// meaning yet. Both are an *UnsupportedError.
//
// # Data path
//
// The modification time of the file is what BuildOptions.Made says, for callers
// that hold it against that of the index.
//
// Build reads the parts of an index by ranges and writes the file under a
// temporary name, checked by reading it back, and renamed: a process that ends
// leaves a whole header or none. What a power failure leaves is found out by
// Open, which checks every byte: magic, versions, CRCs of both tables and both
// TOCs, bounds, order. What does not pass is a *CorruptError, and the caller
// builds anew.
//
// In memory a Reader has every 32nd symbol's offset and every 32nd entry of
// the postings offset table with its value. Everything else is read from the
// file with pread. A mapping would save the copy, but an error of the disk
// below it, or a truncation by another process, would end the process with
// SIGBUS instead of a query with an error. What makes pread cheap enough is
// that the calls take many names at once: a batch of symbols or values is
// resolved in ascending order through one window that moves over the file.
//
// The checksums in the file are of whole tables, of no use to who reads a few
// entries. So Open sums up each page of 4 KiB, in a thousandth of the file's size,
// and what is read later is held against that: a symbol that has lost a bit would
// be another symbol, and nobody could tell. A reader that meets nonsense, here or
// where it was sent, asks Check whether the file is still what was opened.
package indexheader
