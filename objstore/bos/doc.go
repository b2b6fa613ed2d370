// Package bos opens buckets on Baidu Object Storage, through the client of
// thanos-io/objstore.
//
//	type: BOS
//	config:
//	  endpoint: bj.bcebos.com
//	  bucket: metrics
//	  access_key: ...
//	  secret_key: ...
//
// Opening does not reach out to the network. The client takes no context: one
// that is done ends an operation when its request does. An upload of more
// than 16 MiB needs a reader of known size. Denied access is not told from
// other failures.
//
// Baidu's SDK has one HTTP client for the whole process, set up by whoever opens
// a bucket last.
package bos
