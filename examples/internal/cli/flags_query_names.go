package cli

// limitNames are the flags of Query by the limits that they set, for errors that
// tell an operator what to raise.
func limitNames() map[string]string {
	return map[string]string{
		"QueryBytes":   "--query.max-bytes",
		"TotalBytes":   "--query.max-total-bytes",
		"QueryFetch":   "--store.grpc.downloaded-bytes-limit",
		"QuerySeries":  "--store.limits.request-series",
		"QuerySamples": "--store.limits.request-samples",
		"QueryBlocks":  "--store.limits.request-blocks",
	}
}
