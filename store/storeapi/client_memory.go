package storeapi

// Memory is about what the series takes with its chunks, all of which have come.
func (s *clientSeries) Memory() int64 {
	const fixed, perChunk = 160, 104 // on a 64-bit machine
	n := fixed + int64(s.labels.ByteSize()) + int64(s.lost.ByteSize()) + perChunk*int64(len(s.chunks))
	for _, m := range s.chunks {
		if m.Chunk != nil {
			n += int64(len(m.Chunk.Bytes()))
		}
	}
	return n
}
