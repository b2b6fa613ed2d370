package writestore

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang/snappy"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/prompb"
	"google.golang.org/grpc"

	"github.com/varve-tsdb/varve/receive"
)

// member is a receiver in a hashring of three that have all series.
type member struct {
	handler *receive.Handler
	heads   *receive.Tenants
	conn    *grpc.ClientConn
}

func startMembers(t *testing.T) map[string]*member {
	t.Helper()
	rings, err := receive.ParseHashrings([]byte(`[{"algorithm": "ketama", "endpoints": ["a", "b", "c"]}]`), receive.HashringsOptions{ReplicationFactor: 3})
	if err != nil {
		t.Fatal(err)
	}
	members := map[string]*member{}
	for _, name := range []string{"a", "b", "c"} {
		m := &member{}
		members[name] = m
		router, err := receive.NewRouter(func() *receive.Hashrings { return rings }, name, func(e receive.Endpoint) (receive.Peer, error) {
			return NewClient(members[e.Address].conn), nil
		}, receive.RouterOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if m.heads, err = receive.OpenTenants(t.TempDir(), receive.TenantsOptions{}); err != nil {
			t.Fatal(err)
		}
		if m.handler, err = receive.NewHandler(m.heads, receive.HandlerOptions{Router: router}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := m.heads.Close(); err != nil {
				t.Error(err)
			}
		})
		m.conn = serveTo(t, m.handler.Peer(), ServerOptions{})
		t.Cleanup(func() {
			if err := router.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	return members
}

// post sends samples of one time by remote write 1.0.
func (m *member) post(t *testing.T, at time.Time, values map[string]float64) (int, string) {
	t.Helper()
	var req prompb.WriteRequest
	for name, v := range values {
		req.Timeseries = append(req.Timeseries, prompb.TimeSeries{
			Labels:  []prompb.Label{{Name: model.MetricNameLabel, Value: name}},
			Samples: []prompb.Sample{{Timestamp: at.UnixMilli(), Value: v}},
		})
	}
	body, err := req.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	rec := httptest.NewRecorder()
	m.handler.ServeHTTP(rec, httptest.NewRequest(http.MethodPost, "/api/v1/receive", bytes.NewReader(snappy.Encode(nil, body))))
	text, err := io.ReadAll(rec.Body)
	if err != nil {
		t.Fatal(err)
	}
	return rec.Code, string(text)
}

// names are the metrics that a receiver has stored.
func (m *member) names(t *testing.T) []string {
	t.Helper()
	q, err := m.heads.ChunkQuerier(0, time.Now().Add(time.Hour).UnixMilli())
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	names, _, err := q.LabelValues(t.Context(), model.MetricNameLabel, nil)
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// A series that is refused on all receivers is named with the reason that the
// others gave for it, and those beside it are stored everywhere.
func TestReceiversForwardToEachOther(t *testing.T) {
	members := startMembers(t)
	now := time.Now()
	if code, text := members["a"].post(t, now, map[string]float64{"first": 1, "second": 2}); code != http.StatusNoContent {
		t.Fatalf("%d: %s", code, text)
	}
	everywhere := func(want ...string) {
		t.Helper()
		for name, m := range members {
			deadline := time.Now().Add(30 * time.Second) // two of three are enough for an answer
			for !slices.Equal(m.names(t), want) {
				if time.Now().After(deadline) {
					t.Fatalf("%s has %v, want %v", name, m.names(t), want)
				}
				time.Sleep(10 * time.Millisecond)
			}
		}
	}
	everywhere("first", "second")
	code, text := members["b"].post(t, now, map[string]float64{"first": 100, "second": 2, "third": 3})
	if code != http.StatusBadRequest || !strings.Contains(text, "first") || !strings.Contains(text, receive.ReasonConflict.String()) ||
		strings.Contains(text, "second") || strings.Contains(text, "third") {
		t.Errorf("%d: %s", code, text)
	}
	everywhere("first", "second", "third")
}
