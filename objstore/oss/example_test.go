package oss_test

import (
	"fmt"

	"github.com/varve-tsdb/varve/objstore"
	"github.com/varve-tsdb/varve/objstore/oss"
)

func Example() {
	bkt, err := objstore.FromYAML([]byte(`
type: ALIYUNOSS
config:
  bucket: metrics
  endpoint: oss-eu-central-1.aliyuncs.com
  access_key_id: id
  access_key_secret: secret
`), oss.Provider())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer bkt.Close()
	fmt.Println(bkt.Provider(), bkt.Name())
	// Output: ALIYUNOSS metrics
}
