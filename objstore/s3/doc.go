// Package s3 opens buckets on Amazon S3 and what speaks its protocol, through
// the client of thanos-io/objstore, which is MinIO's.
//
//	type: S3
//	config:
//	  bucket: metrics
//	  endpoint: s3.eu-central-1.amazonaws.com   # host, perhaps a port, no scheme
//	  access_key: ...                           # neither key: environment, file, instance role
//	  secret_key: ...
//
// All keys are those of Thanos. Opening does not reach out to the network; a
// wrong key or bucket shows at the first operation.
//
// What the bucket may be called is checked when it is opened. A request that the
// client or the server calls invalid is an objstore.ErrInvalid and is not retried.
//
// Deleting a missing object is no error on S3. A missing bucket is an error of
// Get and of lists, while Exists and Attributes, whose requests get no body in
// answer, take it for a missing object.
//
// An object larger than part_size (64 MiB) is sent in parts of that size, one
// after the other, each held in memory meanwhile. With send_content_md5: false,
// a reader that has ReadAt is sent four parts at a time and not held.
// An upload of more than 16 MiB whose size is not known costs half a gigabyte of
// memory: give it a size.
//
// The client retries by itself, ten times unless max_retries says otherwise.
package s3
