package receive

var (
	_ Appendable       = (*Tenants)(nil)
	_ MetadataAppender = (*Tenants)(nil)
	_ StoredQuerier    = (*Tenants)(nil)
)
