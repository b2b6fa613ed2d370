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

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/tsdb/record"
	"github.com/prometheus/prometheus/tsdb/wlog"
	"github.com/prometheus/prometheus/util/compression"
	"pgregory.net/rapid"
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

// damage damages a file and returns what that hits, of what was in it at first:
// where things have moved since, everything.
func (l *loggedTenant) damage(t *testing.T, rt *rapid.T, dir string, moved map[string]bool) stretch {
	file := rapid.SampledFrom(l.segments(rt)).Draw(rt, "file")
	path := filepath.Join(dir, file)
	raw, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return stretch{} // An earlier damage has removed it.
	}
	if err != nil {
		rt.Fatal(err)
	}
	pageEnd := func(at int) int { return (at/logPageSize + 1) * logPageSize }
	at := rapid.IntRange(0, max(0, len(raw)-1)).Draw(rt, "at")
	hit := stretch{file: file, from: at, to: math.MaxInt}
	switch how := rapid.SampledFrom([]string{"flip", "flip a header", "cut", "remove", "zero", "slip in"}).Draw(rt, "damage"); how {
	case "flip", "flip a header":
		if len(raw) == 0 {
			return stretch{}
		}
		if how == "flip a header" {
			for _, r := range l.records {
				if r.file == file && r.from <= at && at < r.to && at < len(raw) {
					at = r.from
				}
			}
		}
		raw[at] ^= rapid.ByteRange(1, 255).Draw(rt, "by")
		hit.from, hit.to = at, pageEnd(at)
	case "zero":
		at -= at % 4096
		end := min(len(raw), at+rapid.SampledFrom([]int{4096, logPageSize}).Draw(rt, "zeros"))
		clear(raw[at:end])
		hit.from, hit.to = at, pageEnd(max(at, end-1))
	case "cut":
		raw = raw[:min(at, len(raw))]
	case "remove":
		remove(t, path)
		hit.from = 0
		return hit
	case "slip in":
		moved[file] = true
		slipIn(t, path, []byte{byte(record.Samples), 1, 2, 3}, func(n int) int { return at % (n + 1) })
		return stretch{}
	}
	if moved[file] {
		hit.from, hit.to = 0, math.MaxInt
	}
	if err := os.WriteFile(path, raw, 0o666); err != nil {
		rt.Fatal(err)
	}
	return hit
}

// damageMapped damages a file of mapped chunks, if there is one. That the first
// ones are gone cannot be noticed, as the TSDB deletes them when they are old.
func damageMapped(rt *rapid.T, dir string) (done bool) {
	files, err := filepath.Glob(filepath.Join(dir, "a", "chunks_head", "0*"))
	if err != nil || len(files) == 0 {
		return false
	}
	n := rapid.IntRange(0, len(files)-1).Draw(rt, "mapped file")
	raw, err := os.ReadFile(files[n])
	if err != nil {
		rt.Fatal(err)
	}
	if n > 0 && rapid.Bool().Draw(rt, "remove") {
		err = os.Remove(files[n])
	} else if len(raw) > 0 {
		raw[rapid.IntRange(0, len(raw)-1).Draw(rt, "mapped at")] ^= 0xff
		err = os.WriteFile(files[n], raw, 0o666)
	}
	if err != nil {
		rt.Fatal(err)
	}
	return true
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

// Whatever is damaged, the tenant opens; what was not hit is answered, nothing
// else is, another restart loses nothing, and what is written from then on stays.
func TestDamagedTenantKeepsWhatWasNotHit(t *testing.T) {
	leakCheckButLogs(t)
	var tenantsLogged []*loggedTenant
	for i := range 8 {
		tenantsLogged = append(tenantsLogged, logTenant(t, i&1 > 0, i&2 > 0, i&4 > 0))
	}
	rapid.Check(t, func(rt *rapid.T) {
		l := tenantsLogged[rapid.IntRange(0, len(tenantsLogged)-1).Draw(rt, "logged")]
		dir := fastTempDir(t)
		defer func() { _ = os.RemoveAll(dir) }()
		copyTree(rt, dir, l.dir)
		var damages []stretch
		moved := map[string]bool{}
		for range rapid.IntRange(0, 3).Draw(rt, "damages") {
			damages = append(damages, l.damage(t, rt, dir, moved))
		}
		whole := !rapid.Bool().Draw(rt, "damage mapped chunks") || !damageMapped(rt, dir)
		want, written := map[stored]bool{}, map[stored]bool{}
		noticed := false
		for restart := range 3 {
			func() {
				tenants, err := OpenTenants(dir, l.opts)
				if err != nil {
					rt.Fatal(err)
				}
				defer func() {
					if err := tenants.Close(); err != nil {
						rt.Error(err)
					}
				}()
				if err := tenants.OpenAll(t.Context()); err != nil {
					rt.Fatal(err)
				}
				repaired := testutil.ToFloat64(tenants.metrics.repairs) > 0
				if restart == 0 {
					want = l.kept(damages, whole && (repaired || l.opts.OutOfOrderWindow == 0))
				} else if repaired {
					rt.Fatal("what has been repaired is repaired again")
				}
				got := answered(rt, tenants)
				for s := range want {
					if !got[s] {
						rt.Fatalf("after %d restarts %.60v is missing, of %v", restart, s, damages)
					}
				}
				for s := range got {
					if !l.all[s] && !written[s] {
						rt.Fatalf("after %d restarts there is %.60v, which nobody wrote", restart, s)
					}
				}
				if noticed = noticed || repaired; noticed || l.opts.OutOfOrderWindow == 0 {
					want = got
				} // Or mapped chunks go when there are samples out of order.
				for _, s := range l.writeMore(rt, tenants, restart) {
					want[s], written[s] = true, true
				}
			}()
		}
	})
}

// writeMore writes to two series, one of which is new, and out of order if that
// may be.
func (l *loggedTenant) writeMore(t *rapid.T, tenants *Tenants, restart int) (written []stored) {
	at := base + seconds(loggedRounds*loggedSeconds+restart)
	add := func(to labels.Labels, at int64, v float64) {
		if err := write(context.Background(), tenants, "a", at, v, to); err != nil {
			t.Fatalf("after %d restarts: %v", restart, err)
		}
		written = append(written, stored{to.String(), at, v})
	}
	add(up("all"), at, 1)
	add(up(sprint("new", restart)), at, 2)
	if l.opts.OutOfOrderWindow > 0 {
		add(up("all"), at-250, 3)
	}
	return written
}
