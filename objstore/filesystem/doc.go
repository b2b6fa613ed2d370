// Package filesystem keeps a bucket in a directory, one file an object. It
// reads what Thanos' FILESYSTEM provider wrote and the other way round, and
// differs from that where the difference loses data:
//
//   - An upload is written to a temporary file, synced and renamed, and its
//     directories are synced too: after Upload returns the object survives a
//     power cut, before that the old one does, and nobody sees half of it.
//   - A failed upload leaves nothing. What a killed process leaves lies in the
//     directory .varve-tmp, is never listed, and goes away with Sweep, which
//     the first upload of each Bucket does too.
//   - Names cannot leave the directory, by dots or by symbolic links. A link
//     that stays inside is followed, except that lists skip links.
//   - A list is in byte order, and recursive ones are too.
//   - Delete removes a file, never a directory with what is in it; a missing
//     object is an error. Directories that become empty go with the last
//     object.
//
// The file system is the limit of what names can be: no element may be empty,
// "." or "..", or longer than the file system allows (255 bytes, as a rule);
// an object cannot have the name of another one's directory.
//
// Several processes may share a directory.
package filesystem
