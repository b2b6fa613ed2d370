package indexheader

import "errors"

// Symbols resolves refs, which must be ascending, to the strings they stand
// for, and appends these to dst.
func (r *Reader) Symbols(dst []string, refs []uint32) ([]string, error) {
	if len(refs) == 0 {
		return dst, nil
	}
	if last := refs[len(refs)-1]; last >= r.symbolCount {
		return dst, corrupt("symbol %d of %d is referred to", last, r.symbolCount)
	}
	var w *window
	next := uint32(0) // ordinal of the symbol at the window's position
	for i, ref := range refs {
		if i > 0 && ref == refs[i-1] {
			dst = append(dst, dst[len(dst)-1])
			continue
		}
		if i > 0 && ref < refs[i-1] {
			return dst, errors.New("symbol references are not sorted")
		}
		if w == nil || ref/sparse != next/sparse && ref != next {
			w, next = r.symbolWindow(w, refs[i:]), ref/sparse*sparse
		}
		for ; next < ref; next++ {
			if err := w.skipString(); err != nil {
				return dst, err
			}
		}
		symbol, err := w.string()
		if err != nil {
			return dst, err
		}
		next++
		dst = append(dst, string(symbol))
	}
	return dst, nil
}

// symbolWindow moves w, or a new window, to the group of 32 of the first of
// refs.
func (r *Reader) symbolWindow(w *window, refs []uint32) *window {
	first, last := refs[0]/sparse, refs[len(refs)-1]/sparse
	start, end := r.symbols[first], r.symbolsEnd
	if int(last)+1 < len(r.symbols) {
		end = r.symbols[last+1]
	}
	if w == nil {
		return newWindow(r.file, start, end, end-start)
	}
	w.seek(start)
	return w
}
