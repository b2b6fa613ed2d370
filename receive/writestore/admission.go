package writestore

import (
	"context"
	"strconv"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/tap"

	"github.com/varve-tsdb/varve/receive"
)

// sizeKey is the metadata in which a Client says how many bytes its message has,
// not compressed. gRPC would tell only once it is there.
const sizeKey = "varve-message-bytes"

const (
	// firstUsual is what the first message is taken for that does not say how
	// large it is.
	firstUsual = 128 << 10
	// piecesToo is how many times its size a message takes while it comes: once
	// in the pieces of HTTP/2 or compressed, and once in whole.
	piecesToo = 2
)

// mostCallTime bounds a call whose client has set no deadline, so that a message
// that never comes is not waited for for ever. Clients of ours and Thanos' set one
// of a few seconds.
const mostCallTime = 30 * time.Second

// usualSize is what messages of late took of clients that do not say so. It grows
// at once and shrinks by and by.
type usualSize struct{ bytes atomic.Int64 }

func (u *usualSize) get() int64 { return max(u.bytes.Load(), firstUsual) }

func (u *usualSize) note(size int64) {
	before := u.bytes.Load()
	u.bytes.Store(max(size, before-before/64))
}

// admitted is a call that was let in before its message came.
type admitted struct {
	receive.PeerAdmission
	// own takes the admission over. It returns false if the call has ended before.
	own  func() bool
	said bool // the client has said how large its message is
}

type admittedKey struct{}

// admit is asked by gRPC as soon as a call begins, before any of its message is
// read, and must not wait.
func (s *Server) admit(ctx context.Context, info *tap.Info) (context.Context, error) {
	to, ok := s.to.(receive.PeerAdmitter)
	if !ok || info.FullMethodName != methodPath {
		return ctx, nil
	}
	size, said := saidSize(info.Header, int64(s.opts.MaxMessageBytes))
	if !said {
		size = s.usual.get()
	}
	in, err := to.AdmitPeer(piecesToo * size)
	if err != nil {
		return ctx, status.Error(codeOf(ctx, err), clip(err.Error()))
	}
	if _, ok := ctx.Deadline(); !ok {
		bounded, cancel := context.WithTimeout(ctx, mostCallTime)
		context.AfterFunc(ctx, cancel)
		ctx = bounded
	}
	// A call may end before there is a message.
	own := context.AfterFunc(ctx, in.Release)
	return context.WithValue(ctx, admittedKey{}, &admitted{in, own, said}), nil
}

// saidSize returns the size that a client says its message has, which is at most
// what a message may have: what is beyond is not read.
func saidSize(header metadata.MD, most int64) (size int64, ok bool) {
	values := header.Get(sizeKey)
	if len(values) != 1 {
		return 0, false
	}
	size, err := strconv.ParseInt(values[0], 10, 64)
	return min(size, most), err == nil && size >= 0
}

// take returns what the message of a call goes to, and what is to be done when it
// has.
func (s *Server) take(ctx context.Context) (to receive.Peer, in *admitted, err error) {
	in, ok := ctx.Value(admittedKey{}).(*admitted)
	if !ok {
		return s.to, nil, nil
	}
	if !in.own() {
		return nil, nil, status.FromContextError(context.Cause(ctx)).Err()
	}
	return in, in, nil
}

// arrived accounts for a message that is there, and takes size bytes.
func (s *Server) arrived(in *admitted, size int64) error {
	if in == nil {
		return nil
	}
	if !in.said {
		s.usual.note(size)
	}
	return in.Resize(size)
}
