// Package obs opens buckets on Huawei Cloud Object Storage Service, through the
// client of thanos-io/objstore.
//
//	type: OBS
//	config:
//	  endpoint: obs.eu-west-101.myhuaweicloud.eu
//	  bucket: metrics
//	  access_key: ...
//	  secret_key: ...
//
// Opening does not reach out to the network. The client takes no context: one
// that is done ends an operation when its request does. It refuses to upload
// an empty object, and one of more than 16 MiB and unknown size. Denied access
// is not told from other failures. Modification times are not listed.
package obs
