// Package writepb decodes the bodies of Prometheus remote write, version 1.0
// (prometheus.WriteRequest) and 2.0 (io.prometheus.write.v2.Request), without
// generated code and without copying.
//
// # Data path
//
// Request.Reset walks the outermost fields of a decompressed body once: it
// notes where every series, symbol and metadata entry lies, so that a broken
// outer frame is found before anything of the body is used, and so that 2.0
// symbols may stand anywhere. Request.Series then decodes one series into a
// Series that the caller reuses: floats at once, labels, histograms and
// exemplars only when they are asked for. A caller that recognises a series
// by Series.RawLabels or Series.LabelRefs never pays for its labels, and a
// series that is refused never pays for its histograms.
//
// # Who owns the bytes
//
// Everything a Request and a Series hand out as []byte points into the body
// given to Reset. It is valid until the body is changed, and must be copied to
// be kept. Slices inside a Series are overwritten by the next call with the
// same Series. Histograms are the exception: they are freshly allocated,
// because storages keep them.
//
// # What is accepted
//
// The decoder follows the protobuf rules where they matter between versions:
// unknown fields are skipped, repeated numbers may be packed or not, the last
// of a repeated single field wins, the fields of a message may come in any
// order. It is stricter than generated code in five points, none of which a
// writer of these messages can meet: groups, varints of more than 64 bits,
// field numbers of more than 29 bits, and packed numbers of which the last is
// cut off by the end of the field are errors.
//
// The fifth is that a long message may not be full of empty ones: the tables
// that the elements of a message go into take several times what an empty
// element takes in the body. They are counted first; a message with more than
// its bytes can hold in earnest is an error, and for the others there is room
// made once. The labels of a series are bounded by MaxLabels.
//
// A body of one version handed over as the other looks like an empty message,
// since the two share no field number. Reset tells the two apart and fails
// with ErrOtherVersion, so that such a body is never taken for an empty one.
//
// Field 6 of a 2.0 series, the created timestamp of early drafts, is skipped.
//
// Nothing here judges the data: whether labels make a valid series, or spans
// fit buckets, is for the caller to say.
package writepb
