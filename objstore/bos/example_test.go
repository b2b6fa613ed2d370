package bos_test

import (
	"fmt"

	"github.com/varve-tsdb/varve/objstore"
	"github.com/varve-tsdb/varve/objstore/bos"
)

func Example() {
	bkt, err := objstore.FromYAML([]byte(`
type: BOS
config:
  bucket: metrics
  endpoint: bj.bcebos.com
  access_key: key
  secret_key: secret
`), bos.Provider())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer bkt.Close()
	fmt.Println(bkt.Provider(), bkt.Name())
	// Output: BOS metrics
}
