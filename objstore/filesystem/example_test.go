package filesystem_test

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/varve-tsdb/varve/objstore/filesystem"
)

func ExampleNewBucket() {
	dir, err := os.MkdirTemp("", "varve")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)

	bkt, err := filesystem.NewBucket(dir)
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	fmt.Println(bkt.Upload(ctx, "block/meta.json", strings.NewReader("{}")))
	fmt.Println(bkt.Upload(ctx, "../meta.json", strings.NewReader("{}")))
	attrs, err := bkt.Attributes(ctx, "block/meta.json")
	fmt.Println(attrs.Size, err)
	// Output:
	// <nil>
	// objstore: upload "../meta.json": invalid request to a bucket: a file system has no place for the name element ".."
	// 2 <nil>
}
