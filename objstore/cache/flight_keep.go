package cache

// landed notes that a flight has fetched what it will, remembers it in memory, and
// says whether it is to be written to disk: then f.writing waits for that.
func (f *flights) landed(one *flight, kept []page) (write bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.remove(one)
	if !one.outdated {
		for _, p := range kept {
			f.cache.memory.put(pageKey{one.object, p.number}, p.content)
		}
	}
	if f.closed || one.outdated {
		delete(f.live, one)
		return false
	}
	f.writing.Add(1)
	return true
}

// written takes pages off the disk again that were to be forgotten while they were
// being written.
func (f *flights) written(one *flight, pages []page) {
	f.mu.Lock()
	outdated := one.outdated
	delete(f.live, one)
	f.mu.Unlock()
	if n := len(pages); outdated && n > 0 {
		f.cache.disk.forget(one.object, pages[0].number, pages[n-1].number)
		f.forgotten(one.object, one.numbers)
	}
}

// outdate has nothing remembered of what is being read of an object, and nobody wait
// for it who comes from now on. It goes before forgetting what is remembered.
func (f *flights) outdate(object objectID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for one := range f.live {
		if one.object == object {
			one.outdated = true
			f.remove(one)
		}
	}
}

// forgotten forgets pages in memory that are off the disk by now: who has read them
// there before has either brought them to memory already, or does not any more.
func (f *flights) forgotten(object objectID, numbers []int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.forgets++
	for _, number := range numbers {
		f.cache.memory.forget(pageKey{object, number})
	}
}

// since is what remember wants to know of the time before the disk was read.
func (f *flights) since() (forgets int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.forgets
}

// remember brings pages from disk to memory, unless some were forgotten since.
func (f *flights) remember(since int, object objectID, pages []page) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.forgets != since {
		return
	}
	for _, p := range pages {
		f.cache.memory.put(pageKey{object, p.number}, p.content)
	}
}

// kept are the pages to remember. What was whole before the rest failed is.
func (f *flight) kept() []page {
	var kept []page
	for i, whole := range f.whole {
		if whole {
			kept = append(kept, page{f.numbers[i], f.contents[i]})
		}
	}
	return kept
}
