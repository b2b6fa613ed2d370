package dedup

import (
	"testing"

	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
)

func TestMergeFloats(t *testing.T) {
	for _, tc := range []struct {
		name     string
		replicas [][]point
		want     []point
	}{
		{
			name: "the first replica is followed while it has no gap",
			replicas: [][]point{
				seconds(0, 1, 15, 2, 30, 1, 45, 2, 60, 5),
				seconds(7, 8, 22, 9, 37, 8, 52, 9, 67, 8),
			},
			want: seconds(0, 1, 15, 2, 30, 1, 45, 2, 60, 5),
		},
		{
			name: "a missed scrape is filled by the other",
			replicas: [][]point{
				seconds(0, 1, 15, 2, 30, 1, 75, 2, 90, 5, 105, 1),
				seconds(8, 8, 23, 7, 38, 8, 53, 7, 68, 8, 83, 7, 98, 8),
			},
			want: seconds(0, 1, 15, 2, 30, 1, 38, 8, 53, 7, 68, 8, 83, 7, 98, 8),
		},
		{
			name: "the first replica is returned to once it has proved itself",
			replicas: [][]point{
				seconds(0, 1, 15, 2, 30, 1, 75, 2, 90, 1, 105, 2, 120, 1, 135, 2, 150, 1, 165, 2, 180, 1, 195, 2),
				seconds(8, 8, 23, 7, 38, 8, 53, 7, 68, 8, 83, 7, 98, 8, 113, 7, 128, 8, 143, 7, 158, 8, 173, 7),
			},
			want: seconds(0, 1, 15, 2, 30, 1, 38, 8, 53, 7, 68, 8, 83, 7, 98, 8, 113, 7, 128, 8, 143, 7, 165, 2, 180, 1, 195, 2),
		},
		{
			name: "a gap that nobody covers stays",
			replicas: [][]point{
				seconds(0, 1, 15, 2, 30, 1, 90, 2, 105, 1),
				seconds(7, 1, 22, 2, 97, 1, 112, 2),
			},
			want: seconds(0, 1, 15, 2, 30, 1, 90, 2, 105, 1),
		},
		{
			name: "a replica that joins before the first one began",
			replicas: [][]point{
				seconds(90, 1, 105, 2, 120, 1, 135, 2),
				seconds(7, 8, 22, 9, 37, 8, 52, 9, 67, 8, 82, 9, 97, 8, 112, 9),
			},
			want: seconds(7, 8, 22, 9, 37, 8, 52, 9, 67, 8, 82, 9, 97, 8, 112, 9, 120, 1, 135, 2),
		},
		{
			name: "a replica that leaves",
			replicas: [][]point{
				seconds(0, 1, 15, 2, 30, 1),
				seconds(7, 8, 22, 9, 37, 8, 52, 9, 67, 8, 82, 9),
			},
			want: seconds(0, 1, 15, 2, 30, 1, 52, 9, 67, 8, 82, 9),
		},
		{
			name: "the finer replica is followed",
			replicas: [][]point{
				seconds(0, 1, 60, 2, 120, 1, 180, 2),
				seconds(4, 1, 19, 2, 34, 3, 49, 2, 64, 3, 79, 1, 94, 2, 109, 1, 124, 2),
			},
			want: seconds(0, 1, 19, 2, 34, 3, 49, 2, 64, 3, 79, 1, 94, 2, 109, 1, 124, 2, 180, 2),
		},
		{
			name: "the same scrape, told by copies with different holes",
			replicas: [][]point{
				seconds(0, 1, 15, 2, 45, 4, 60, 5, 75, 6, 90, 7, 105, 8, 120, 9),
				seconds(0, 1, 15, 2, 30, 3, 45, 4, 60, 5, 75, 6, 105, 8, 120, 9),
			},
			want: seconds(0, 1, 15, 2, 30, 3, 45, 4, 60, 5, 75, 6, 90, 7, 105, 8, 120, 9),
		},
		{
			name: "a stale marker while the other goes on",
			replicas: [][]point{
				seconds(0, 1, 15, 2, 30, 1, 45, stale),
				seconds(8, 8, 23, 9, 38, 8, 53, 9, 68, 8),
			},
			want: seconds(0, 1, 15, 2, 30, 1, 38, 8, 53, 9, 68, 8),
		},
		{
			name: "stale markers of both",
			replicas: [][]point{
				seconds(0, 1, 15, 2, 30, 1, 45, stale, 300, 2, 315, 1),
				seconds(8, 8, 23, 9, 38, 8, 53, stale, 308, 9, 323, 8),
			},
			want: seconds(0, 1, 15, 2, 30, 1, 38, 8, 53, stale, 300, 2, 315, 1),
		},
		{
			name: "a stale marker while the other is merely a bit behind",
			replicas: [][]point{
				seconds(0, 1, 15, 2, 30, 1, 45, stale),
				seconds(7, 8, 22, 9, 37, 8),
			},
			want: seconds(0, 1, 15, 2, 30, 1),
		},
		{
			name: "a stale marker while the other is gone",
			replicas: [][]point{
				seconds(0, 1, 15, 2, 30, 1, 45, 2, 60, 1, 75, stale),
				seconds(7, 8, 22, 9),
			},
			want: seconds(0, 1, 15, 2, 30, 1, 45, 2, 60, 1, 75, stale),
		},
		{
			name: "three replicas",
			replicas: [][]point{
				seconds(0, 1, 15, 2, 30, 1),
				seconds(5, 8, 20, 9, 35, 8, 50, 9),
				seconds(10, 4, 25, 5, 40, 4, 55, 5, 70, 4, 85, 5),
			},
			want: seconds(0, 1, 15, 2, 30, 1, 40, 4, 55, 5, 70, 4, 85, 5), // 50 is as near to 45, but later
		},
		{
			name:     "one sample each",
			replicas: [][]point{seconds(0, 1), seconds(7, 2)},
			want:     seconds(0, 1, 7, 2),
		},
		{
			name:     "an empty replica",
			replicas: [][]point{nil, seconds(7, 2, 22, 3)},
			want:     seconds(7, 2, 22, 3),
		},
		{name: "nothing", replicas: [][]point{nil, nil}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			wantPoints(t, merged(t, tc.replicas...), tc.want)
		})
	}
}

func TestMergeCounters(t *testing.T) {
	for _, tc := range []struct {
		name     string
		replicas [][]point
		want     []point
	}{
		{
			// The clock of the second replica is 20 s ahead.
			name: "a replica that lags is no reset",
			replicas: [][]point{
				seconds(0, 100, 15, 115, 30, 130, 45, 145),
				seconds(8, 88, 23, 103, 38, 118, 53, 133, 68, 148, 83, 163, 98, 178),
			},
			want: seconds(0, 100, 15, 115, 30, 130, 45, 145, 68, 148, 83, 163, 98, 178),
		},
		{
			name: "a reset that the other replica saw is kept",
			replicas: [][]point{
				seconds(0, 100, 15, 115, 30, 130),
				seconds(8, 108, 23, 123, 38, 2, 53, 17, 68, 32, 83, 47),
			},
			want: seconds(0, 100, 15, 115, 30, 130, 38, 2, 53, 17, 68, 32, 83, 47),
		},
		{
			name: "a fast counter that would hide its reset",
			replicas: [][]point{
				seconds(0, 100, 15, 115, 30, 130),
				seconds(7, 107, 22, 122, 37, 2, 52, 1000, 67, 2000, 82, 3000),
			},
			want: seconds(0, 100, 15, 115, 30, 130, 37, 2, 52, 1000, 67, 2000, 82, 3000),
		},
		{
			// The first replica has seen the reset, the second, whose clock is
			// 16 s ahead, has not yet.
			name: "a reset is not repeated by a replica that sees it late",
			replicas: [][]point{
				seconds(0, 1000, 15, 1015, 30, 1030, 45, 3),
				seconds(8, 992, 23, 1007, 38, 1022, 53, 1037, 68, 10, 83, 25, 98, 40),
			},
			want: seconds(0, 1000, 15, 1015, 30, 1030, 45, 3, 68, 10, 83, 25, 98, 40),
		},
		{
			name: "a replica that joins after a restart of everything",
			replicas: [][]point{
				seconds(0, 1000, 15, 1015, 30, 1030, 45, 1045),
				seconds(100, 4, 115, 19, 130, 34),
			},
			want: seconds(0, 1000, 15, 1015, 30, 1030, 45, 1045, 100, 4, 115, 19, 130, 34),
		},
		{
			name: "a handover between chunks that do not overlap",
			replicas: [][]point{
				seconds(0, 1000, 15, 1015, 30, 1030, 45, 1045),
				seconds(54, 1040, 69, 1055, 84, 1070),
			},
			want: seconds(0, 1000, 15, 1015, 30, 1030, 45, 1045, 69, 1055, 84, 1070),
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			wantPoints(t, merged(t, tc.replicas...), tc.want)
		})
	}
}

// The same as above, once the replica has been followed for long: what is usual is
// dealt with in another way then, see merge_glide.go.
func TestMergeCounterResetInRhythm(t *testing.T) {
	var a, b, want []point
	for i := range 42 {
		at, v := float64(i)*15, float64(1000+15*i)
		if i >= 41 {
			v = 3 // nothing follows this for a while
		}
		a = append(a, seconds(at, v)...)
		want = append(want, seconds(at, v)...)
	}
	for i := range 50 {
		// Its clock is 16 s ahead, so that it sees the reset later.
		at, v := float64(i)*15+8, float64(1000+15*i-8)
		if i >= 43 {
			v = float64(15*(i-43) + 10)
			want = append(want, seconds(at, v)...)
		}
		b = append(b, seconds(at, v)...)
	}
	wantPoints(t, merged(t, a, b), want)
}

// The reset is between two chunks of the other replica, of which the first was not
// decoded.
func TestMergeCounterResetBetweenChunks(t *testing.T) {
	a, b := line(0, 15, 121), line(8, 15, 150)
	for i := 120; i < len(b); i++ {
		b[i].v -= b[119].v
	}
	wantPoints(t, merged(t, a, b), append(a[:121:121], b[120:]...))
}

// A replica that misses every tenth scrape is returned to once or twice, and then
// no more.
func TestMergeFlappingReplica(t *testing.T) {
	var a []point
	for i, p := range line(0, 15, 600) {
		if i%10 != 9 {
			a = append(a, p)
		}
	}
	got := merged(t, a, line(7, 15, 600))
	switches := 0
	for i, p := range got[1:] {
		if p.t%15_000 != got[i].t%15_000 {
			switches++
		}
	}
	if switches < 2 || switches > 6 {
		t.Errorf("%d switches", switches)
	}
}

// line is a counter scraped n times from start on, in seconds.
func line(start, interval float64, n int) []point {
	var list []point
	for i := range n {
		at := start + float64(i)*interval
		list = append(list, seconds(at, at)...)
	}
	return list
}

func counted(metas []chunks.Meta, d *decodes) []chunks.Meta {
	list := make([]chunks.Meta, len(metas))
	for i, meta := range metas {
		meta.Chunk = countedChunk{meta.Chunk, d}
		list[i] = meta
	}
	return list
}

func TestMergePassesChunksUndecoded(t *testing.T) {
	base := line(0, 15, 1000)
	for _, tc := range []struct {
		name     string
		replicas [][]point
		size     []int
		want     []point
		decoded  int
	}{
		{
			name:     "identical copies",
			replicas: [][]point{base, base, base},
			want:     base,
		},
		{
			name:     "copies of which each lacks other chunks",
			replicas: [][]point{append(base[:120:120], base[360:]...), append(base[:240:240], base[480:]...), base[240:600]},
			want:     base,
			decoded:  3, // one side and the other of the handovers to the third and back
		},
		{
			name:     "replicas far apart in time",
			replicas: [][]point{base[:240], base[480:720]},
			want:     append(base[:240:240], base[480:720]...),
			decoded:  2, // the first of the second, with a look back at the last of the first
		},
		{
			name:     "the other of a pair without gaps",
			replicas: [][]point{base, line(7, 15, 1000)},
			want:     base,
			decoded:  9, // those of the first
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var (
				d    decodes
				list []storage.ChunkSeries
			)
			originals := map[chunkenc.Chunk]bool{}
			for _, points := range tc.replicas {
				metas := counted(encode(t, points, 120), &d)
				for _, meta := range metas {
					originals[meta.Chunk] = true
				}
				list = append(list, seriesOf(testLabels, metas...))
			}
			got, err := readChunks(Merge(list...))
			if err != nil {
				t.Fatal(err)
			}
			if d.n != tc.decoded {
				t.Errorf("%d chunks decoded, want %d", d.n, tc.decoded)
			}
			for _, meta := range got {
				if !originals[meta.Chunk] {
					t.Errorf("chunk at %d..%d is not one of the replicas' own", meta.MinTime, meta.MaxTime)
				}
			}
			points, err := readPoints(Merge(list...))
			if err != nil {
				t.Fatal(err)
			}
			wantPoints(t, points, tc.want)
		})
	}
}

func TestMergeOneSourceThatOverlapsItself(t *testing.T) {
	base := line(0, 15, 500)
	shifted := line(6, 15, 500)
	metas := append(encode(t, base[:300], 120), encode(t, base[250:], 100)...)
	sortMetas(metas)
	got, err := readPoints(Merge(seriesOf(testLabels, metas...), replica(t, shifted)))
	if err != nil {
		t.Fatal(err)
	}
	wantPoints(t, got, base)
}

func sortMetas(metas []chunks.Meta) {
	for i := range metas {
		for j := i; j > 0 && metas[j-1].MinTime > metas[j].MinTime; j-- {
			metas[j-1], metas[j] = metas[j], metas[j-1]
		}
	}
}

func TestMergeManySourcesOneAfterTheOther(t *testing.T) {
	base, shifted := line(0, 15, 10_000), line(7, 15, 10_000)
	var list []storage.ChunkSeries
	for from := 0; from < len(base); from += 200 {
		list = append(list, replica(t, base[from:from+200]), replica(t, shifted[from:from+200]))
	}
	it := Merge(list...).Iterator(nil).(*chunkIterator)
	most := 0
	for it.Next() {
		most = max(most, len(it.m.lanes))
	}
	if it.Err() != nil {
		t.Fatal(it.Err())
	}
	if most > 8 {
		t.Errorf("%d lanes at a time for two replicas", most)
	}
	got, err := readPoints(Merge(list...))
	if err != nil {
		t.Fatal(err)
	}
	wantPoints(t, got, base)
}

func TestMergeReusesItsIterator(t *testing.T) {
	a := Merge(replica(t, line(0, 15, 500)), replica(t, line(7, 15, 500)))
	gap := line(0, 15, 500)
	b := Merge(replica(t, append(gap[:100:100], gap[300:]...)), replica(t, line(7, 15, 500)))
	want, err := readPoints(b)
	if err != nil {
		t.Fatal(err)
	}
	it := a.Iterator(nil)
	it.Next() // abandoned in the middle
	again := b.Iterator(it)
	if again != it {
		t.Error("the iterator is not reused")
	}
	metas, err := storage.ExpandChunks(again)
	if err != nil {
		t.Fatal(err)
	}
	got, err := readPoints(seriesOf(testLabels, metas...))
	if err != nil {
		t.Fatal(err)
	}
	wantPoints(t, got, want)
}
