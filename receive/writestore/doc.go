// Package writestore lets receivers forward series to each other by gRPC, in the
// way of Thanos Receive: the service thanos.WriteableStore with its one method
// RemoteWrite. Receivers of both kinds can share a hashring.
//
//	receive.Router ──► Client ══ gRPC ══► Server ──► receive.Handler.Peer
//
// Client is a receive.Peer over a connection. Server is a service that hands what
// comes to a receive.Peer, usually that of the handler in the same process. The
// host owns the gRPC server and the connections, with their credentials and
// interceptors:
//
//	server, err := writestore.NewServer(handler.Peer(), writestore.ServerOptions{})
//	g := grpc.NewServer(server.GRPCOptions()...)
//	server.Register(g)
//
// # Who owns the bytes
//
// The Server hands on messages as they came: the series in a receive.PeerRequest
// point into what gRPC has received, which is given back when Write returns. Two
// things cost a copy: a message that came in several pieces of HTTP/2, which is
// so for long ones that are not compressed, and series of a tenant that do not
// lie side by side, which no known sender does. The Client copies series once,
// into the message, since gRPC may hold on to that when a call is cancelled.
//
// # Nothing is registered
//
// gRPC knows codecs and compressors by names that are the whole process'. Thanos
// registers its own in the place of gRPC's, and its messages with the protobuf
// library. Here the codec is set for a server (Server.GRPCOptions) and for each
// call of a Client, it takes the messages of this package, and it leaves all
// others to what is registered. Messages are encoded by hand and have no
// descriptor. So Thanos can be linked into the same program, and as many servers
// and clients as one likes.
//
// # What Thanos says and hears
//
// The format is that of pkg/store/storepb/rpc.proto of Thanos. Requests come in
// two shapes, and the Server reads both, even in one message:
//
//	1 timeseries, 2 tenant, 3 replica                       one tenant
//	4 timeseriesTenantData {1 timeseries, 2 tenant}, 3      several
//
// Thanos v0.42.4, the newest release that this was tested with, has fields 1 to 3
// only, as a router and as a receiver. Field 4 is what routers send that were built
// from Thanos' sources after it. A receiver of v0.42.4 takes such a message for an
// empty one, says OK and loses it. So the Client sends the first shape only, a call
// for each tenant, which every receiver reads.
//
// The status of a call, which is the class of its gravest series:
//
//	OK                 all is stored
//	AlreadyExists      samples are refused for good
//	Unavailable        something may be stored later: not ready, full disk, too
//	                   much under way
//	ResourceExhausted  the message is too large for this receiver; retryable, as
//	                   it was not for the one that it comes from
//	InvalidArgument    the number of the replica is none; retryable
//	Internal           anything else; retryable
//
// A Server refuses single series, and says which in the trailer
// varve-refused-bin: for each reason its name, whether it is retryable, and the
// positions of the series. A Client makes a receive.PeerRefusal of it. Thanos
// neither sends nor reads it: there a status is that of all series in the call.
//
// # Sizes, compression, keepalive
//
// A message may have MaxMessageBytes, before and after decompression. Thanos
// sends up to 2 GiB. What messages take together is bounded by the
// receive.GlobalLimits of the handler, if that is what the Server hands on to: a
// call is let in, or answered Unavailable, when it begins, before its message is
// read. A Client says in the metadata varve-message-bytes how large that is. Thanos'
// routers do not say, so a call of theirs is taken for what the largest of late
// took; should it need more, that is seen once it is there. A message counts twice
// while it comes, since its pieces or its compressed form are in memory beside it.
// Not accounted are the windows of HTTP/2: up to 64 KiB, and more if gRPC finds the
// way to be long, of each call that has just been refused.
//
// A call without a deadline gets one of 30 seconds.
//
// The compression between receivers is the framed format of snappy by the name
// "snappy", Thanos' default. A Server understands it; a Client uses it on
// connections made with SnappyDialOptions. gRPC's way to set a compressor for one
// connection is marked as deprecated, in favour of the process-wide registry, and
// stays for all of its version 1.
//
// Clients of Thanos send a ping after 10 seconds without traffic, for which
// gRPC's servers close connections by default: theirs is a minimum of 5 minutes.
// GRPCOptions allows one every 5 seconds. Connections to peers should have
// DialOptions, or one that died without a word costs the forward timeout of each
// write, and one to a peer that was away for long is not made again for minutes.
//
// # Not here
//
// Cap'n Proto, the other protocol of Thanos' receivers: run them with
// --receive.replication-protocol=protobuf, the default.
package writestore
