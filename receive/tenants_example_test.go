package receive_test

import (
	"context"
	"fmt"
	"math"
	"os"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"

	"github.com/varve-tsdb/varve/receive"
)

// A life of a process that stores samples: open, write, read, and leave nothing
// in memory that a shipper could not upload.
func ExampleOpenTenants() {
	dir, err := os.MkdirTemp("", "heads")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	ctx := context.Background()
	heads, err := receive.OpenTenants(dir, receive.TenantsOptions{Labels: labels.FromStrings("receiver", "a")})
	if err != nil {
		fmt.Println(err)
		return
	}
	// In a server: g.Go(func() error { return heads.Run(ctx) })

	app, err := heads.Appender(ctx, "team-x")
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = app.Append(0, labels.FromStrings("__name__", "up", "job", "node"), 0, 1700000000000, 1, nil, nil, storage.AppendV2Options{})
	if err != nil {
		fmt.Println(err)
	}
	if err := app.Commit(); err != nil {
		fmt.Println(err)
	}

	q, err := heads.ChunkQuerier(math.MinInt64, math.MaxInt64)
	if err != nil {
		fmt.Println(err)
		return
	}
	up := labels.MustNewMatcher(labels.MatchEqual, "__name__", "up")
	for set := q.Select(ctx, true, nil, up); set.Next(); {
		fmt.Println(set.At().Labels())
	}
	if err := q.Close(); err != nil {
		fmt.Println(err)
	}

	if err := heads.Flush(ctx); err != nil {
		fmt.Println(err)
	}
	// Now a block.Shipper over heads ships all there is.
	if err := heads.Close(); err != nil {
		fmt.Println(err)
	}
	// Output: {__name__="up", job="node", receiver="a", tenant_id="team-x"}
}
