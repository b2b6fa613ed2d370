// Package cos opens buckets on Tencent Cloud Object Storage, through the client
// of thanos-io/objstore.
//
//	type: COS
//	config:
//	  bucket: metrics
//	  app_id: "1250000000"
//	  region: ap-shanghai
//	  secret_id: ...
//	  secret_key: ...
//
// Opening does not reach out to the network. Modification times are not
// listed.
package cos
