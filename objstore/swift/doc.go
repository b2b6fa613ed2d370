// Package swift opens containers on OpenStack Swift, through the client of
// thanos-io/objstore.
//
//	type: SWIFT
//	config:
//	  auth_url: https://identity.example.org/v3
//	  container_name: metrics
//	  ...
//
// Opening reaches out to the network: it authenticates and looks for the
// container. Objects larger than large_object_chunk_size are stored in segments
// beside the object, below segments/ in the same container unless
// large_object_segments_container_name names another; lists show them. The
// client takes no context: one that is done ends an operation when its request
// does. Modification times are not listed.
package swift
