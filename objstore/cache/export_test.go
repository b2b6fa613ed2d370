package cache

// Flush waits until what was read so far has been written to disk, as far as it
// will be. Nobody may read meanwhile.
func (b *Bucket) Flush() { b.shared.flights.writing.Wait() }
