// Package objstoretest holds what it takes to test code that uses buckets, and
// buckets themselves.
//
// TestBucket is the contract of package objstore as a test suite. Run it on
// every Bucket a program brings along.
//
// Memory is a Bucket in memory. Around it, or any other Bucket, go
//
//   - Faulty, which fails, stalls, truncates or corrupts what its rules say,
//   - Crashing, which lets n operations pass and then fails for good, as seen
//     by a process that was killed: open the Bucket below it again to see what
//     is left,
//   - Recorder, which keeps a log of all operations.
//
// All of them may be used from several goroutines.
package objstoretest
