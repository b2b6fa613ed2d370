// Package grpcwire is what the adapters of Thanos' gRPC services have in common:
// a codec for messages that are encoded by hand, the fields of protobuf messages,
// the framed format of snappy, and how connections are kept alive.
//
// gRPC knows codecs and compressors by names that are the whole process'. All of
// this is for one server or one connection: a Codec is given to
// grpc.ForceServerCodecV2 or grpc.ForceCodecV2, takes the messages that have the
// methods of Sent and Received, and leaves all others to what the process has
// registered. So one Codec serves all adapters on a server.
package grpcwire
