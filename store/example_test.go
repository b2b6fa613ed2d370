package store_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"testing"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/varve-tsdb/varve/internal/blocktest"
	"github.com/varve-tsdb/varve/objstore/objstoretest"
	"github.com/varve-tsdb/varve/store"
)

func Example() {
	dir, err := os.MkdirTemp("", "store")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	bkt := objstoretest.NewMemory() // objstore.FromYAML in real life
	fillBucket(bkt, dir)

	hist, err := store.Open(bkt, dir, store.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer hist.Close()
	if err := hist.Sync(context.Background()); err != nil { // or go hist.Run(ctx)
		log.Fatal(err)
	}

	querier, err := hist.ChunkQuerier(0, 60_000)
	if err != nil {
		log.Fatal(err)
	}
	defer querier.Close()
	set := querier.Select(context.Background(), true, nil, labels.MustNewMatcher(labels.MatchEqual, "__name__", "up"))
	for set.Next() {
		chunks := 0
		for it := set.At().Iterator(nil); it.Next(); {
			chunks++
		}
		fmt.Println(set.At().Labels(), chunks)
	}
	if err := set.Err(); err != nil {
		log.Fatal(err)
	}
	// Output:
	// {__name__="up", cluster="eu", instance="a"} 1
	// {__name__="up", cluster="eu", instance="b"} 1
}

// exampleTB lets blocktest write a block outside of a test.
type exampleTB struct {
	testing.TB
	dir string
}

func (exampleTB) Helper()                           {}
func (exampleTB) Errorf(format string, args ...any) { log.Printf(format, args...) }
func (exampleTB) Fatalf(format string, args ...any) { log.Fatalf(format, args...) }
func (tb exampleTB) TempDir() string {
	dir, err := os.MkdirTemp(tb.dir, "blocktest")
	if err != nil {
		log.Fatal(err)
	}
	return dir
}

func fillBucket(bkt *objstoretest.Memory, dir string) {
	blocktest.Put(exampleTB{dir: dir}, bkt, blocktest.Block{
		External: labels.FromStrings("cluster", "eu"),
		Series: []blocktest.Series{
			{Labels: labels.FromStrings("__name__", "up", "instance", "a"), Samples: blocktest.Floats(0, 60_000, 15_000, 1)},
			{Labels: labels.FromStrings("__name__", "up", "instance", "b"), Samples: blocktest.Floats(0, 60_000, 15_000, 1)},
		},
	})
}
