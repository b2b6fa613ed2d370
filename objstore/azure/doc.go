// Package azure opens containers on Azure Blob Storage, through the client of
// thanos-io/objstore.
//
//	type: AZURE
//	config:
//	  storage_account: metrics
//	  storage_account_key: ...
//	  container: blocks
//
// Opening reaches out to the network: it creates the container if it is missing,
// unless storage_create_container is false.
package azure
