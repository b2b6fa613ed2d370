// Package gcs opens buckets on Google Cloud Storage, through the client of
// thanos-io/objstore.
//
//	type: GCS
//	config:
//	  bucket: metrics
//	  service_account: ...   # JSON; without it Google's usual search for credentials
//
// Close the bucket: the client holds connections. The key no_auth, though
// documented elsewhere, is not understood by the client and therefore an error.
// A range that starts beyond the end of an object is an error.
//
// Importing the package registers the protobuf messages and gRPC balancers of
// Google's SDK and types of encoding/gob for the whole process; use_grpc
// starts Google's OpenTelemetry exporter when run on Google Cloud.
package gcs
