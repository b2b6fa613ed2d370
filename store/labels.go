package store

import (
	"context"
	"fmt"
	"slices"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/index"

	"github.com/varve-tsdb/varve/internal/indexheader"
	"github.com/varve-tsdb/varve/internal/readcost"
)

// labelNames returns the names of the labels of the series that match, sorted.
// Without matchers the header has them. limit is where reading may end, 0 for
// none; more names may come back.
func (r *blockReader) labelNames(ctx context.Context, limit int, matchers []*labels.Matcher) (names []string, err error) {
	err = r.answer(ctx, func(ctx context.Context, r *blockReader) error {
		names, err = r.readLabelNames(ctx, limit, matchers)
		return err
	})
	return names, err
}

func (r *blockReader) readLabelNames(ctx context.Context, limit int, matchers []*labels.Matcher) ([]string, error) {
	header, err := r.header(ctx)
	if err != nil {
		return nil, err
	}
	if matchers = selective(matchers); len(matchers) == 0 {
		return header.LabelNames(), nil
	}
	hold := readcost.Charge{Cost: readcost.From(ctx), Use: readcost.PostingsInFlight}
	defer hold.Free()
	refs, err := r.postings(ctx, matchers, &hold)
	if err != nil {
		return nil, err
	}
	found := map[uint32]bool{}
	err = r.eachEntry(ctx, header, refs, func(e seriesEntry) bool {
		for i := 0; i < len(e.symbols); i += 2 {
			found[e.symbols[i]] = true
		}
		return limit == 0 || len(found) < limit
	})
	if err != nil {
		return nil, err
	}
	return r.sortedSymbols(ctx, header, found)
}

// selective leaves out matchers that every series satisfies.
func selective(matchers []*labels.Matcher) []*labels.Matcher {
	return slices.DeleteFunc(slices.Clone(matchers), func(m *labels.Matcher) bool {
		return m.Type == labels.MatchRegexp && m.Value == ".*"
	})
}

// eachEntry reads the index entries of refs until use returns false.
func (r *blockReader) eachEntry(ctx context.Context, header *indexheader.Reader, refs []seriesRef, use func(seriesEntry) bool) error {
	reader := entryReader{block: r.block, header: header, readBytes: r.readBytes, reachAt: r.reach}
	defer reader.free()
	var e seriesEntry
	for len(refs) > 0 {
		n := reader.reach(refs, 0)
		bodies, err := reader.fetch(ctx, refs[:n])
		if err != nil {
			return r.block.indexFault(ctx, header, err)
		}
		refs = refs[n:]
		for _, body := range bodies {
			if err := e.decode(body); err != nil {
				return r.block.indexFault(ctx, header, err)
			}
			if !use(e) {
				return nil
			}
		}
	}
	return nil
}

// sortedSymbols resolves a set of symbols.
func (r *blockReader) sortedSymbols(ctx context.Context, header *indexheader.Reader, found map[uint32]bool) ([]string, error) {
	refs := make([]uint32, 0, len(found))
	for ref := range found {
		refs = append(refs, ref)
	}
	slices.Sort(refs)
	symbols, err := header.Symbols(make([]string, 0, len(refs)), refs)
	if err == nil && slices.Contains(symbols, "") {
		err = corrupt("a series has a label with an empty name or value")
	}
	if err != nil {
		return nil, r.block.indexFault(ctx, header, err)
	}
	// Symbols are sorted in every index that was written so far, but it does
	// not take much not to rely on it.
	slices.Sort(symbols)
	return symbols, nil
}

// labelValues returns the values of the label name among the series that
// match, sorted, and no more than limit of them if that is not 0. If no other
// label is matched the header has them.
func (r *blockReader) labelValues(ctx context.Context, name string, limit int, matchers []*labels.Matcher) (values []string, err error) {
	err = r.answer(ctx, func(ctx context.Context, r *blockReader) error {
		values, err = r.readLabelValues(ctx, name, limit, matchers)
		return err
	})
	return values, err
}

func (r *blockReader) readLabelValues(ctx context.Context, name string, limit int, matchers []*labels.Matcher) ([]string, error) {
	header, err := r.header(ctx)
	if err != nil {
		return nil, err
	}
	matchers = selective(matchers)
	others := slices.ContainsFunc(matchers, func(m *labels.Matcher) bool { return m.Name != name })
	var candidates valueLists
	kept := readcost.Hoard{Cost: readcost.From(ctx)}
	var refused error
	err = header.LabelValues(name, func(value string, list indexheader.Range) bool {
		if matchesValue(matchers, name, value) {
			candidates.values = append(candidates.values, value)
			candidates.lists = append(candidates.lists, list)
			if refused = kept.Keep(valueMemory + int64(len(value))); refused != nil {
				return false
			}
		}
		return others || limit == 0 || len(candidates.values) < limit
	})
	if err != nil {
		return nil, r.block.indexFault(ctx, header, err)
	}
	if refused != nil {
		return nil, refused
	}
	if !others || len(candidates.values) == 0 {
		return candidates.values, nil
	}
	hold := readcost.Charge{Cost: readcost.From(ctx), Use: readcost.PostingsInFlight}
	defer hold.Free()
	refs, err := r.postings(ctx, matchers, &hold)
	if err != nil || len(refs) == 0 {
		return nil, err
	}
	if size(candidates.lists) <= int64(len(refs))*averageEntry(header) {
		return r.valuesByPostings(ctx, header, candidates, limit, refs)
	}
	return r.valuesBySeries(ctx, header, name, limit, refs)
}

// valueMemory is what a value of a label takes in an answer besides its bytes:
// its place in the answers of a block, of a stream and of all, and its list.
const valueMemory = 96

// matchesValue tells whether the value satisfies those matchers that are about
// the label name.
func matchesValue(matchers []*labels.Matcher, name, value string) bool {
	return !slices.ContainsFunc(matchers, func(m *labels.Matcher) bool { return m.Name == name && !m.Matches(value) })
}

// averageEntry is the average size of a series entry in bytes.
func averageEntry(header *indexheader.Reader) int64 {
	count := max((header.AllPostings().Len()-12)/4, 1)
	return max(header.Series().Len()/count, 1)
}

// valueLists are values of one label and their postings lists.
type valueLists struct {
	values []string
	lists  []indexheader.Range
}

// valuesByPostings returns those values whose postings lists have one of refs.
func (r *blockReader) valuesByPostings(ctx context.Context, header *indexheader.Reader, of valueLists, limit int, refs []seriesRef) ([]string, error) {
	lists := newPostingsLists(postingsPlan{subtract: of.lists})
	defer lists.free()
	if err := r.fetchPostings(ctx, header, lists); err != nil {
		return nil, err
	}
	var values []string
	for i, value := range of.values {
		both := index.Intersect(&refPostings{refs: refs}, lists.get(of.lists[i]))
		if both.Next() {
			values = append(values, value)
		}
		if err := both.Err(); err != nil {
			return nil, r.block.indexFault(ctx, header, fmt.Errorf("%w: %w", ErrCorrupt, err))
		}
		if limit > 0 && len(values) == limit {
			break
		}
	}
	return values, ctx.Err()
}

// valuesBySeries returns the values that the series of refs have.
func (r *blockReader) valuesBySeries(ctx context.Context, header *indexheader.Reader, name string, limit int, refs []seriesRef) ([]string, error) {
	names := map[uint32]bool{} // symbols, and whether they are the name
	values := map[uint32]bool{}
	var failed error
	err := r.eachEntry(ctx, header, refs, func(e seriesEntry) bool {
		for i := 0; i < len(e.symbols); i += 2 {
			is, known := names[e.symbols[i]]
			if !known {
				symbol, err := header.Symbols(nil, e.symbols[i:i+1])
				if err != nil {
					failed = r.block.indexFault(ctx, header, err)
					return false
				}
				is = symbol[0] == name
				names[e.symbols[i]] = is
			}
			if is {
				values[e.symbols[i+1]] = true
			}
		}
		return true
	})
	if err == nil {
		err = failed
	}
	if err != nil {
		return nil, err
	}
	sorted, err := r.sortedSymbols(ctx, header, values)
	if limit > 0 && len(sorted) > limit {
		sorted = sorted[:limit]
	}
	return sorted, err
}
