package objstoretest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/varve-tsdb/varve/objstore"
	"github.com/varve-tsdb/varve/objstore/objstoretest"
)

func ExampleFaulty() {
	ctx := context.Background()
	bkt := objstoretest.NewFaulty(objstoretest.NewMemory())
	bkt.Set(objstoretest.Rule{
		Op: objstore.OpUpload, Name: "meta.json", Times: 1,
		Fault: objstoretest.Fail(errors.New("no route to host")),
	})
	for _, name := range []string{"block/index", "block/meta.json", "block/meta.json"} {
		fmt.Println(name, bkt.Upload(ctx, name, strings.NewReader("{}")))
	}
	// Output:
	// block/index <nil>
	// block/meta.json no route to host
	// block/meta.json <nil>
}

// A test cuts the work off after each operation and looks at what is left.
func ExampleCrashing() {
	ctx := context.Background()
	for after := 0; ; after++ {
		memory := objstoretest.NewMemory()
		bkt := objstoretest.NewCrashing(memory, after)
		err := errors.Join(
			bkt.Upload(ctx, "block/index", strings.NewReader("...")),
			bkt.Upload(ctx, "block/meta.json", strings.NewReader("{}")),
		)
		fmt.Println(after, memory.Names())
		if err == nil {
			break
		}
	}
	// Output:
	// 0 []
	// 1 [block/index]
	// 2 [block/index block/meta.json]
}

func ExampleRecorder() {
	ctx := context.Background()
	bkt := objstoretest.NewRecorder(objstoretest.NewMemory())
	_ = bkt.Upload(ctx, "block/index", strings.NewReader("0123456789"))
	rc, err := bkt.GetRange(ctx, "block/index", 4, 3)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer rc.Close()
	_, _ = io.Copy(io.Discard, rc)
	fmt.Print(bkt.Lines())
	fmt.Println(bkt.Log()[1].Bytes, "bytes read")
	// Output:
	// upload block/index
	// get_range block/index 4+3
	// 3 bytes read
}
