package receive

import (
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/record"
	"pgregory.net/rapid"
)

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
