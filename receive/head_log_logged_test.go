package receive

import (
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/tsdb/record"
	"github.com/prometheus/prometheus/tsdb/wlog"
	"github.com/prometheus/prometheus/util/compression"
)

// stored is a sample that a tenant answers.
type stored struct {
	series string
	t      int64
	v      float64
}

// placedRecord is a record of a log, and where it lies in which file.
type placedRecord struct {
	file     string
	from, to int
	series   []record.RefSeries
	samples  []record.RefSample
}

// loggedTenant is a directory of tenants as one leaves it, and what is in it.
type loggedTenant struct {
	dir     string
	opts    TenantsOptions
	all     map[stored]bool
	blocks  map[stored]bool // those of all that are in blocks
	records []placedRecord
	mapped  map[chunks.HeadSeriesRef][][2]int64 // times in mapped chunks in order
}

// stretch is what a damage has hit of a file.
type stretch struct {
	file     string
	from, to int
}

const loggedRounds, loggedSeconds = 4, 150

// logTenant writes a tenant whose log has a segment or more for each round.
func logTenant(t *testing.T, outOfOrder, checkpoint, killed bool) *loggedTenant {
	t.Helper()
	l := &loggedTenant{dir: fastTempDir(t), opts: TenantsOptions{BlockDuration: 24 * time.Hour, MinFreeDisk: -1, Logger: slog.New(slog.DiscardHandler)}}
	if outOfOrder {
		l.opts.OutOfOrderWindow = time.Hour
	}
	if checkpoint {
		l.opts.BlockDuration = 2 * time.Minute
	}
	left := l.dir
	if killed {
		left = fastTempDir(t)
	}
	for round := range loggedRounds {
		tenants := openTenants(t, left, l.opts)
		for i := range loggedSeconds {
			second := round*loggedSeconds + i
			mustWrite(t, tenants, "a", base+seconds(second), float64(second), up("all"))
			if i%7 == 0 {
				one := second % (2*round + 2)
				mustWrite(t, tenants, "a", base+seconds(second), float64(one), wide(sprint("w", one)))
			}
			if outOfOrder && i%10 == 9 {
				mustWrite(t, tenants, "a", base+seconds(second-9)+500, 0.5, up("all"))
			}
		}
		if round < loggedRounds-1 || !checkpoint {
			if err := tenants.Compact(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if killed && round == loggedRounds-1 {
			copyTree(t, l.dir, left)
		}
		if err := tenants.Close(); err != nil {
			t.Fatal(err)
		}
	}
	l.examine(t)
	return l
}

func copyTree(t interface{ Fatal(...any) }, to, from string) {
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}

// examine finds out what is in the directory.
func (l *loggedTenant) examine(t *testing.T) {
	t.Helper()
	copied := fastTempDir(t)
	copyTree(t, copied, l.dir)
	tenants := openTenants(t, copied, l.opts)
	l.all = answered(t, tenants)
	if err := tenants.Close(); err != nil {
		t.Fatal(err)
	}
	for _, log := range []string{"wal", "wbl", "chunks_head"} {
		remove(t, filepath.Join(copied, "a", log))
	}
	tenants = openTenants(t, copied, l.opts)
	l.blocks = answered(t, tenants)
	if err := tenants.Close(); err != nil {
		t.Fatal(err)
	}
	for _, file := range l.segments(t) {
		l.records = append(l.records, placedRecords(t, l.dir, file)...)
	}
	remove(t, copied)
	copyTree(t, copied, l.dir)
	mapper, err := chunks.NewChunkDiskMapper(nil, filepath.Join(copied, "a", "chunks_head"), chunkenc.NewPool(), chunks.DefaultWriteBufferSize, 0)
	if err != nil {
		t.Fatal(err)
	}
	l.mapped = map[chunks.HeadSeriesRef][][2]int64{}
	err = mapper.IterateAllChunks(func(ref chunks.HeadSeriesRef, _ chunks.ChunkDiskMapperRef, mint, maxt int64, _ uint16, _ chunkenc.Encoding, outOfOrder bool) error {
		if !outOfOrder {
			l.mapped[ref] = append(l.mapped[ref], [2]int64{mint, maxt})
		}
		return nil
	})
	if err := errors.Join(err, mapper.Close()); err != nil {
		t.Fatal(err)
	}
}

// segments returns the files of the logs, relative to the directory.
func (l *loggedTenant) segments(t interface{ Fatal(...any) }) (files []string) {
	var segments []string
	wal := filepath.Join(l.dir, "a", "wal")
	dirs := []string{wal, filepath.Join(l.dir, "a", "wbl")}
	if checkpoint, _, err := wlog.LastCheckpoint(wal); err == nil {
		dirs = append(dirs, checkpoint)
	}
	for _, dir := range dirs {
		found, err := wholeLog(dir, -1)
		if err != nil {
			t.Fatal(err)
		}
		segments = append(segments, found...)
	}
	for _, segment := range segments {
		file, err := filepath.Rel(l.dir, segment)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	return files
}

// placedRecords reads a segment that is whole.
func placedRecords(t *testing.T, dir, file string) (records []placedRecord) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil {
		t.Fatal(err)
	}
	d := record.NewDecoder(labels.NewSymbolTable(), slog.New(slog.DiscardHandler))
	var content []byte
	start := 0
	for at := 0; at < len(raw); {
		kind := int(raw[at] & logTypeMask)
		if kind == logPadding {
			at = (at/logPageSize + 1) * logPageSize
			continue
		}
		if kind == logWhole || kind == logFirst {
			content, start = nil, at
		}
		how := compression.None
		if raw[at]&logSnappyFlag != 0 {
			how = compression.Snappy
		}
		end := at + logHeaderSize + int(binary.BigEndian.Uint16(raw[at+1:]))
		content = append(content, raw[at+logHeaderSize:end]...)
		if at = end; kind != logWhole && kind != logLast {
			continue
		}
		rec, err := compression.Decode(how, content, compression.NewSyncDecodeBuffer())
		if err != nil {
			t.Fatal(err)
		}
		r := placedRecord{file: file, from: start, to: end}
		switch d.Type(rec) {
		case record.Series:
			r.series, err = d.Series(rec, nil)
		case record.Samples:
			r.samples, err = d.Samples(rec, nil)
		}
		if err != nil {
			t.Fatal(err)
		}
		records = append(records, r)
	}
	return records
}

// kept returns what must be left after damages: what is in blocks, in records
// that are not hit, and, if they count, in mapped chunks, as far as the record of
// the series is not hit.
func (l *loggedTenant) kept(damages []stretch, mapped bool) map[stored]bool {
	series, late := map[chunks.HeadSeriesRef]string{}, map[[2]int64]bool{}
	out := map[stored]bool{}
	keep := func(s stored) {
		if l.all[s] {
			out[s] = true
		}
	}
	for s := range l.blocks {
		keep(s)
	}
	for _, r := range l.records {
		for _, one := range r.series {
			if !hit(r, damages) {
				series[one.Ref] = one.Labels.String()
			}
		}
		for _, s := range r.samples {
			if inOrder := !strings.HasPrefix(r.file, "a/wbl"); !inOrder {
				late[[2]int64{int64(s.Ref), s.T}] = true
			}
		}
	}
	for _, r := range l.records {
		for _, s := range r.samples {
			known, ok := series[s.Ref]
			if !ok {
				continue
			}
			one := stored{known, s.T, s.V}
			if isLate := late[[2]int64{int64(s.Ref), s.T}]; !hit(r, damages) && isLate == strings.HasPrefix(r.file, "a/wbl") {
				keep(one)
			}
			for _, times := range l.mapped[s.Ref] {
				if mapped && !late[[2]int64{int64(s.Ref), s.T}] && times[0] <= s.T && s.T <= times[1] {
					keep(one)
				}
			}
		}
	}
	return out
}

func hit(r placedRecord, damages []stretch) bool {
	for _, d := range damages {
		if d.file == r.file && d.from < r.to && r.from < d.to {
			return true
		}
	}
	return false
}

func answered(t interface{ Fatal(...any) }, tenants *Tenants) map[stored]bool {
	series, err := read(context.Background(), tenants, math.MinInt64, math.MaxInt64)
	if err != nil {
		t.Fatal(err)
	}
	out := map[stored]bool{}
	for _, s := range series {
		ls := strings.Replace(s.labels, `, tenant_id="a"`, "", 1)
		for _, p := range s.points {
			out[stored{ls, p.t, p.v}] = true
		}
	}
	return out
}
