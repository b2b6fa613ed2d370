package obs_test

import (
	"fmt"

	"github.com/varve-tsdb/varve/objstore"
	"github.com/varve-tsdb/varve/objstore/obs"
)

func Example() {
	bkt, err := objstore.FromYAML([]byte(`
type: OBS
config:
  bucket: metrics
  endpoint: obs.eu-west-101.myhuaweicloud.eu
  access_key: key
  secret_key: secret
`), obs.Provider())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer bkt.Close()
	fmt.Println(bkt.Provider(), bkt.Name())
	// Output: OBS metrics
}
