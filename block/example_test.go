package block_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/varve-tsdb/varve/block"
	"github.com/varve-tsdb/varve/objstore/objstoretest"
)

// A host ships what its heads have cut, and finds it again.
func Example() {
	ctx := context.Background()
	bkt := objstoretest.NewMemory() // or objstore.FromYAML(...)
	dir, err := os.MkdirTemp("", "blocks")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	cutBlock(dir, ulid.MustParseStrict("01JZ6XQ9G5ZC3V9D8R3T5Y7N2K"))

	src := block.Dirs{dir: labels.FromStrings("cluster", "eu-1", "replica", "a")}
	shipper, err := block.NewShipper(bkt, src, block.ShipperOptions{})
	if err != nil {
		log.Fatal(err)
	}
	if err := shipper.Ship(ctx); err != nil { // or go shipper.Run(ctx)
		log.Fatal(err)
	}
	fmt.Println("pending:", shipper.Pending().Blocks)

	fetcher, err := block.NewFetcher(bkt, block.FetcherOptions{})
	if err != nil {
		log.Fatal(err)
	}
	view, err := fetcher.Fetch(ctx)
	if err != nil {
		log.Fatal(err)
	}
	for _, m := range view.Blocks {
		fmt.Println(m.ULID, m.Labels(), m.Segments(), m.Thanos.Source)
	}
	// Output:
	// pending: 0
	// 01JZ6XQ9G5ZC3V9D8R3T5Y7N2K {cluster="eu-1", replica="a"} [000001] receive
}

// cutBlock stands for a head TSDB that writes a block.
func cutBlock(dir string, id ulid.ULID) {
	m := &block.Meta{
		ULID: id, MinTime: 0, MaxTime: 7_200_000, Version: block.Version1,
		Stats:      block.Stats{NumSamples: 240, NumSeries: 1, NumChunks: 2},
		Compaction: block.Compaction{Level: 1, Sources: []ulid.ULID{id}},
	}
	path := filepath.Join(dir, id.String())
	if err := os.MkdirAll(filepath.Join(path, block.ChunksDirname), 0o755); err != nil {
		log.Fatal(err)
	}
	for _, rel := range []string{block.IndexFilename, "chunks/000001"} {
		if err := os.WriteFile(filepath.Join(path, rel), []byte("content of "+rel), 0o644); err != nil {
			log.Fatal(err)
		}
	}
	if err := block.WriteMetaDir(path, m); err != nil {
		log.Fatal(err)
	}
}
