// Package storeapi is the gRPC StoreAPI of Thanos, both ways: a Server over any
// storage.ChunkQueryable, and a Client that is one. A Thanos Query can ask what Varve
// holds, and Varve can ask Thanos' stores, receivers, sidecars and queriers.
//
//	any ChunkQueryable ◄── Server ══ gRPC ══ Client ──► fan-out, dedup, engine
//
// The host owns the gRPC server and the connections, with their credentials and
// interceptors:
//
//	api, err := storeapi.NewServer(hist, storeapi.ServerOptions{})
//	g := grpc.NewServer(api.GRPCOptions()...)
//	api.Register(g)
//
//	conn, err := grpc.NewClient(address, append(storeapi.DialOptions(), creds)...)
//	remote, err := storeapi.NewClient(conn, storeapi.ClientOptions{Name: address})
//	g.Go(func() error { return remote.Run(ctx) })
//
// The format is that of Thanos v0.42.4: pkg/store/storepb/{rpc,types}.proto,
// pkg/info/infopb, pkg/exemplars/exemplarspb and pkg/metadata/metadatapb.
//
// # Nothing is registered
//
// gRPC knows codecs and compressors by names that are the whole process', and the
// protobuf library messages by theirs. Here the codec is set for a server
// (Server.GRPCOptions) and for each call of a Client, takes the messages of this
// package and of receive/writestore, and leaves all others to what is registered.
// Messages are encoded by hand. So Thanos can be linked into the same program, and as
// many servers and clients as one likes.
//
// What this costs is that gRPC lets a server choose a compression for each client
// only from the registry. A Server understands snappy; it answers in it either to
// all (SnappyServerOption) or to none.
//
// # Order
//
// Series come in the order of the labels that the reader sees: with external labels,
// which win over stored ones, and without those in without_replica_labels. A Server
// relies on its source for it. A Client holds a server to it. One that breaks it
// fails a read with an OrderError, and is sorted by the Client from then on.
//
// A series may come in several parts, and its chunks from several places: a Client
// makes one of parts that follow each other, its chunks in order of time, equal ones
// once. A Server cuts series of more than a megabyte of chunks.
//
// # Replicas
//
// Dedup has to tell replicas apart whose labels have become equal. The protocol has
// no word for it: Thanos merges their chunks and guesses from how they overlap. A
// Server of Varve says with each series which labels it has lost, if it is asked, in
// fields that Thanos passes over. Of other servers a Client asks for all labels,
// takes them off itself, and sorts, for which it keeps a whole Select in memory; so
// does a query engine that reads it.
//
// # Whole or in part
//
// query.ReadOptions.Partial is the strategy WARN, without it ABORT. Thanos Query asks
// with WARN by default. A Client takes a warning of Thanos' in a read that is to be
// whole for what it is there, an error. Warnings of Varve's servers stay warnings, as
// they do in one process: what is missing has failed such a read already.
//
// # Status
//
//	InvalidArgument    the request makes no sense
//	ResourceExhausted  a limit: an error with LimitExceeded() bool that says so
//	Unavailable        not ready: an error with Unavailable() bool that says so
//	Unavailable        too busy: one with Overloaded() (time.Duration, bool) that
//	                   says so; when to try again is in google.rpc.RetryInfo
//	DeadlineExceeded, Canceled
//	Aborted            the source failed a read that is to be whole
//	Internal           the source failed
//
// A Client makes a *StatusError of it, which has those methods again: so the HTTP API
// of a querier answers what it would over the source itself. Programs that do not know
// of the detail, as Thanos' do not, take Unavailable for what it says.
//
// # Memory
//
// A Server reads its source as fast as its client reads: besides what the source has
// read ahead it holds one message of about 128 KiB, or up to twice a megabyte for
// long series, and what gRPC has taken and not sent, about 64 KiB a call. What a Client
// has received and nobody has read is at most the window of HTTP/2, which gRPC lets
// grow to 16 MiB a call on fast and long connections; grpc.WithStaticStreamWindowSize
// fixes it. A chunk is
// copied once, into the message, undecoded: gRPC may hold on to that for longer than
// the querier is open that the chunk is from, and a chunk may lie in a mapped file.
//
// A Client copies a message once, out of gRPC's memory, where it lies in pieces of 16
// KiB; chunks point into that copy.
//
// # Chunks of newer encodings
//
// Thanos v0.42.4 does not read chunks with start timestamps, among them XOR2, so they
// are sent as the encoding they stem from.
//
// # Downsampled blocks
//
// Their chunks hold five aggregates. A request says how coarse data may be and which
// aggregates it needs; a Server passes those on as they are stored, and a Client makes
// of them what the PromQL function in the hints of a Select sees. Where a store joins two
// resolutions inside of a chunk, that is cut there before it travels.
//
// # What Thanos Query needs to know
//
// Info answers with the source's Streams, as external labels and, for each, a range
// of time (tsdb_infos). Thanos' clients ping after 10 seconds without traffic, for
// which gRPC closes connections by default: GRPCOptions allows it.
//
// A read on behalf of a tenant (query.ReadOptions.Tenant) says so in the metadata
// varve-tenant, by which a Server narrows it. It is no protection: who may reach the
// server may leave it out. Thanos' metadata thanos-tenant narrows nothing, since
// Thanos Query sends it always.
//
// # Not here
//
// Rules, targets, statistics and Thanos' query API. Projection (QueryHints) and the
// hints of Thanos' store gateway are passed over, as the protocol allows.
package storeapi
