// Package oss opens buckets on Alibaba Cloud Object Storage Service, through the
// client of thanos-io/objstore. Its type is ALIYUNOSS.
//
//	type: ALIYUNOSS
//	config:
//	  endpoint: oss-eu-central-1.aliyuncs.com
//	  bucket: metrics
//	  access_key_id: ...
//	  access_key_secret: ...
//
// Opening does not reach out to the network. The client takes no context: one
// that is done ends an operation when its request does. An upload of more
// than 16 MiB needs a reader of known size. Modification times are not listed.
package oss
