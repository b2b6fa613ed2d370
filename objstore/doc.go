// Package objstore is access to object storage.
//
// A Bucket is the one of github.com/thanos-io/objstore, by alias, so every
// provider and every host bucket written for that interface fits. FromYAML
// opens one from the usual configuration file. Providers live in packages of
// their own, such as objstore/s3, and are handed to FromYAML, so that a
// program links only the SDKs it names.
//
//	bkt, err := objstore.FromYAML(file, s3.Provider(), filesystem.Provider())
//	bkt, err = objstore.WithMetrics(objstore.WithRequests(bkt), objstore.MetricsOptions{Registerer: reg})
//	bkt, err = objstore.WithDeadlines(bkt, objstore.DeadlineOptions{Registerer: reg})
//	bkt, err = objstore.WithRetry(bkt, objstore.RetryOptions{Logger: log})
//
// The decorators go around any Bucket. From the bucket upwards the usual order
// is the one above: WithRequests, which counts what one query costs, and
// WithMetrics see each attempt, WithDeadlines ends those that stall, WithRetry makes
// the attempts. WithHedging, for stores whose slowest few requests in a hundred decide how long a
// query takes, costs requests and is a host's choice; it goes below WithRetry. All of them
// forward what they do not change: options, classification of errors, expected
// errors, Close.
//
// # What is relied upon
//
// This is the contract that objstoretest.TestBucket checks. In this module it
// is run on the filesystem, on S3, on memory, on prefixes and on all
// decorators; the other providers are held to it as far as that goes without
// their service, and the package of each names where it falls short. Run the
// suite on a bucket of your own.
//
// Consistency. An object that was uploaded, overwritten or deleted is seen so
// by every later read and list. An upload is atomic: the object appears whole
// or not at all, and an upload that fails, whose reader fails or gives less
// than the size it announced, or whose context ends leaves what was there
// before. Of concurrent uploads to one name one whole content stays. Nothing
// else is assumed: no rename, no conditional write, no order between two
// objects beyond the order in which calls returned.
//
// Names. Elements are separated by "/" and are not empty, "." or "..". What is
// in them is free. A directory is nothing but a part of names; it exists while
// an object is below it, and is not an object.
//
// Lists. Iter gives the objects and directories directly below dir, by full
// name, those of directories with a slash at the end. It does not matter
// whether dir itself ends in one, and "a" is never taken for a part of "ab". A
// missing directory is empty. Objects come in byte order and so do
// directories; whether the two are mixed is up to the provider, except that a
// recursive list, which has objects only, is in byte order as a whole for all
// but OCI. The callback may use the bucket, and what it returns ends the list
// and is its error. Objects that come or go during a list may or may not be in
// it. Where SupportedIterOptions has UpdatedAt, IterWithAttributes tells when each
// object was written; an object that is written again shows another time, as far as
// the bucket's clock resolves that. Readers of blocks go by it.
//
// Ranges. GetRange(off, length) covers [off, off+length), length -1 all from
// off on, and what is beyond the end is left out. A range that starts at or
// beyond the end is an error or has no bytes. A length of 0, or a negative
// other than -1, is an error.
//
// Bodies. The caller closes them. The context of the call must live until
// then, and a read that waits ends when it is done. ObjectSize tells how long a body will be, where the provider knows.
//
// Uploads. Give a reader of known size (an *os.File, a bytes.Reader, anything
// with Seek or ObjectSize): some providers hold in memory what they cannot
// measure. One that can Seek can be retried.
//
// Errors. A missing object is an error of Get, GetRange and Attributes for
// which IsObjNotFoundErr holds, and of Delete that or none. Access that the
// storage denied is IsAccessDeniedErr, where the provider can tell. Both see
// through errors that wrap theirs on all buckets of this module; on any other
// use IsNotFound and IsAccessDenied of this package. A context that is done
// fails every operation with its error. Errors of this module's providers and
// of WithRetry are of type *Error and name operation and object.
package objstore
