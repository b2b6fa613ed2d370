package writestore

import (
	"strings"
	"testing"

	"google.golang.org/grpc"

	"github.com/varve-tsdb/varve/receive"
)

// BenchmarkForward is one call with the series of a usual request, 2,000 of 200
// bytes.
func BenchmarkForward(b *testing.B) {
	series := make([]string, 2000)
	for i := range series {
		series[i] = strings.Repeat("x", 200)
	}
	req := &receive.PeerRequest{Replica: 1, Tenants: []receive.PeerSeries{{Tenant: "t", Message: timeseries(series...), Series: len(series)}}}
	for name, dial := range map[string][]grpc.DialOption{"as it is": nil, "compressed": SnappyDialOptions()} {
		b.Run(name, func(b *testing.B) {
			client := NewClient(serveTo(b, answering(nil), ServerOptions{}, dial...))
			b.SetBytes(int64(len(req.Tenants[0].Message)))
			b.ReportAllocs()
			for b.Loop() {
				if err := client.Write(b.Context(), req); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
