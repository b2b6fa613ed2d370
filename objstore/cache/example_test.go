package cache_test

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/varve-tsdb/varve/objstore"
	"github.com/varve-tsdb/varve/objstore/cache"
	"github.com/varve-tsdb/varve/objstore/objstoretest"
)

func ExampleNew() {
	far := objstore.WithRequests(objstoretest.NewMemory())
	bkt, err := cache.New(far, cache.Options{MemoryBytes: 64 << 20})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer bkt.Close()

	var account objstore.Account
	ctx := objstore.WithAccount(context.Background(), &account)
	_ = bkt.Upload(ctx, "block/index", strings.NewReader("what does not change"))
	for range 3 {
		// The reader knows that this object stays as it is.
		body, err := bkt.GetRange(objstore.WithVersion(ctx, "1"), "block/index", 5, 4)
		if err != nil {
			fmt.Println(err)
			return
		}
		text, _ := io.ReadAll(body)
		body.Close()
		fmt.Printf("%s\n", text)
	}
	fmt.Println("reads of the bucket:", account.Requests(objstore.OpGetRange))
	// Output:
	// does
	// does
	// does
	// reads of the bucket: 1
}
