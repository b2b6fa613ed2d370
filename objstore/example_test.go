package objstore_test

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/varve-tsdb/varve/objstore"
	"github.com/varve-tsdb/varve/objstore/filesystem"
)

func Example() {
	dir, err := os.MkdirTemp("", "varve")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)

	cfg := "type: FILESYSTEM\nconfig:\n  directory: " + dir + "\nprefix: team-a\n"
	bkt, err := objstore.FromYAML([]byte(cfg), filesystem.Provider()) // and s3.Provider(), ...
	if err != nil {
		fmt.Println(err)
		return
	}
	defer bkt.Close()
	bkt = objstore.WithRequests(bkt)

	var cost objstore.Account
	ctx := objstore.WithAccount(context.Background(), &cost)
	for _, name := range []string{"block/meta.json", "block/index", "debug"} {
		if err := bkt.Upload(ctx, name, strings.NewReader("{}")); err != nil {
			fmt.Println(err)
			return
		}
	}
	err = bkt.Iter(ctx, "", func(name string) error {
		fmt.Println(name)
		return nil
	})
	fmt.Println(err)
	_, err = bkt.Get(ctx, "block/chunks/000001")
	fmt.Println(bkt.IsObjNotFoundErr(fmt.Errorf("read chunks: %w", err)))
	fmt.Println(cost.Requests(), "requests,", cost.Requests(objstore.OpUpload), "uploads,", cost.BytesWritten(), "bytes")
	// Output:
	// block/
	// debug
	// <nil>
	// true
	// 5 requests, 3 uploads, 6 bytes
}

func ExampleFromYAML() {
	_, err := objstore.FromYAML([]byte("type: S3\nconfig: {bucket: metrics}\n"), filesystem.Provider())
	fmt.Println(err)
	_, err = objstore.FromYAML([]byte("type: FILESYSTEM\nconfg: {}\n"), filesystem.Provider())
	fmt.Println(err)
	// Output:
	// objstore: type "S3" has no provider: the types passed to FromYAML are FILESYSTEM; import github.com/varve-tsdb/varve/objstore/s3 and pass s3.Provider()
	// objstore: bucket configuration: line 2: unknown key "confg"; the keys here are type, config and prefix
}
