// Package oci opens buckets on Oracle Cloud Infrastructure, through the client of
// thanos-io/objstore.
//
//	type: OCI
//	config:
//	  provider: raw   # or default, instance-principal, oke-workload-identity
//	  bucket: metrics
//	  compartment_ocid: ...
//	  ...
//
// Opening reaches out to the network: it asks for the tenancy's namespace. With
// provider oke-workload-identity the client sets environment variables of the
// process, as Oracle's SDK takes its settings from there. The SDK logs to
// standard error when the environment variable OCI_GO_SDK_DEBUG is set.
// Modification times are not listed.
package oci
