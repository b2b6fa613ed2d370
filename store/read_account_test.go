package store

import (
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/varve-tsdb/varve/internal/blocktest"
	"github.com/varve-tsdb/varve/internal/readcost"
	"github.com/varve-tsdb/varve/objstore"
	"github.com/varve-tsdb/varve/objstore/cache"
	"github.com/varve-tsdb/varve/objstore/objstoretest"
)

// stacked is a bucket as hosts stack it.
func stacked(tb testing.TB, bkt objstore.Bucket) objstore.Bucket {
	tb.Helper()
	hedged, err := objstore.WithHedging(objstore.WithRequests(bkt), objstore.HedgeOptions{MaxShare: 1})
	if err != nil {
		tb.Fatal(err)
	}
	again, err := objstore.WithRetry(hedged, objstore.RetryOptions{})
	if err != nil {
		tb.Fatal(err)
	}
	return again
}

// What a query has cost is what reached the bucket on its behalf, whatever was
// asked twice: the account of the query and that of its host say the same.
func TestSecondTriesAreOnTheBill(t *testing.T) {
	memory := objstoretest.NewMemory()
	for range 3 {
		blocktest.Put(t, memory, wideBlock(300, 1))
	}
	for _, behindCache := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			faulty := objstoretest.NewFaulty(memory)
			log := objstoretest.NewRecorder(faulty)
			bkt := stacked(t, log)
			if behindCache {
				bkt = cached(t, bkt, cache.Options{MemoryBytes: -1})
			}
			b := openOver(t, bkt, t.TempDir(), Options{})
			for range 20 { // until it is known what is slow
				mustRead(t, b, 0, 1000, equal("cluster", "eu"))
			}
			for name, fault := range map[string]objstoretest.Fault{
				"failing":      objstoretest.Fail(errors.New("away")),
				"breaking off": objstoretest.Break(50, errors.New("away")),
				"slow":         objstoretest.Delay(time.Minute),
			} {
				log.Reset()
				var n atomic.Int64
				faulty.Set(objstoretest.Rule{Op: objstore.OpGetRange, Fault: fault, Match: func(_, _ string) bool { return n.Add(1)%2 == 1 }})
				cost, account := budgetOf(t, BudgetOptions{}).Open(), &objstore.Account{}
				if _, _, err := read(objstore.WithAccount(WithCost(t.Context(), cost), account), b, 0, 1000, equal("cluster", "eu")); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				report := cost.Report()
				cost.Close()
				if got := report.Requests(); got != account.Requests() || got != int64(blockReads(log)) {
					t.Errorf("%s: the query says %d requests, the host's account %d, the bucket %d", name, got, account.Requests(), blockReads(log))
				}
				if faulty.Struck() == 0 || report.Bytes() != account.BytesRead() {
					t.Errorf("%s: %d times; the query says %d bytes, the host's account %d", name, faulty.Struck(), report.Bytes(), account.BytesRead())
				}
				money := readcost.Prices{ThousandRequests: 1000}.Of(report)
				if *money.Price != float64(blockReads(log)) {
					t.Errorf("%s: a price of %v for %d requests", name, *money.Price, blockReads(log))
				}
			}
		})
	}
}

// A bucket that does not count its requests had those that were made of it.
func TestBillOfABucketThatDoesNotCount(t *testing.T) {
	memory := objstoretest.NewMemory()
	blocktest.Put(t, memory, wideBlock(300, 1))
	log := objstoretest.NewRecorder(memory)
	b := openOver(t, log, t.TempDir(), Options{})
	log.Reset()
	cost := budgetOf(t, BudgetOptions{}).Open()
	defer cost.Close()
	if _, _, err := read(WithCost(t.Context(), cost), b, 0, 1000, equal("cluster", "eu")); err != nil {
		t.Fatal(err)
	}
	if got := cost.Report(); got.Requests() != int64(blockReads(log)) || got.Bytes() == 0 {
		t.Errorf("%d requests with %d bytes, the bucket had %d", got.Requests(), got.Bytes(), blockReads(log))
	}
}
