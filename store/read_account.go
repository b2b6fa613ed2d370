package store

import (
	"context"

	"github.com/varve-tsdb/varve/internal/readcost"
	"github.com/varve-tsdb/varve/objstore"
)

// billing is what one read of the bucket comes to, for the account of its query:
// all that reaches the bucket, second tries and second requests included, as
// far as the bucket counts that (see objstore.WithRequests). One that does not
// has had one request, and the bytes that came of it.
type billing struct {
	cost    *readcost.Cost
	kind    readcost.Kind
	account *objstore.Account
}

// bill begins a read, which counts from now on.
func bill(ctx context.Context, kind readcost.Kind) (context.Context, billing) {
	b := billing{cost: readcost.From(ctx), kind: kind}
	ctx, b.account = objstore.WithSubaccount(ctx)
	b.cost.Requests(kind, 1)
	return ctx, b
}

// end notes what else it came to. n bytes have arrived.
func (b billing) end(n int64) {
	b.cost.Requests(b.kind, b.account.Requests()-1)
	b.cost.Bytes(b.kind, max(n, b.account.BytesRead()))
}
