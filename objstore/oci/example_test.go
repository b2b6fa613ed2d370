package oci_test

import (
	"fmt"

	"github.com/varve-tsdb/varve/objstore"
	"github.com/varve-tsdb/varve/objstore/oci"
)

func Example() {
	bkt, err := objstore.FromYAML([]byte(`
type: OCI
config:
  provider: default
  bucket: metrics
  compartment_ocid: ocid1.compartment.oc1..aaaa
`), oci.Provider())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer bkt.Close()
	fmt.Println(bkt.Provider(), bkt.Name())
	// This asks for the tenancy's namespace.
}
