package otlp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/relabel"
	"github.com/prometheus/prometheus/storage"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/varve-tsdb/varve/receive"
)

// sendToRing sends to a receiver that shares its series with another, and waits
// until both have what is theirs.
func sendToRing(t *testing.T, replicas int, own, other *recorder, md pmetric.Metrics) answered {
	t.Helper()
	config, err := json.Marshal([]map[string]any{{"endpoints": []string{"own:1", "other:1"}}})
	if err != nil {
		t.Fatal(err)
	}
	rings, err := receive.ParseHashrings(config, receive.HashringsOptions{ReplicationFactor: replicas})
	if err != nil {
		t.Fatal(err)
	}
	peer, err := receive.NewHandler(other, receive.HandlerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	dial := func(receive.Endpoint) (receive.Peer, error) { return receive.PeerFunc(peer.WritePeer), nil }
	router, err := receive.NewRouter(func() *receive.Hashrings { return rings }, "own:1", dial, receive.RouterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	a := send(t, newHandlerOn(t, own, receive.HandlerOptions{Router: router}, Options{}), md)
	if err := router.Close(); err != nil {
		t.Error(err)
	}
	return a
}

// ringPoints is a request of 20 gauges and 5 histograms, of which those named bad
// are refused for good by a storage that has refuseBad.
func ringPoints(at pcommon.Timestamp) (md pmetric.Metrics, bad int64) {
	md, ms := newRequest()
	for i := range 20 {
		name := "good"
		if i%4 == 0 {
			name = "bad"
			bad++
		}
		gauge(ms, fmt.Sprint(name, i), 1, at)
	}
	for i := range 5 {
		name := "good_h"
		if i < 2 {
			name = "bad_h"
			bad++
		}
		explicit(ms, fmt.Sprint(name, i), cumulative, at, 1, 2, 3)
	}
	return md, bad
}

func refuseBad(ls labels.Labels) error {
	if strings.HasPrefix(ls.Get("__name__"), "bad") {
		return fmt.Errorf("not here: %w", storage.ErrOutOfOrderSample)
	}
	return nil
}

// What the receivers of a ring refuse is told to the sender by the data point,
// wherever the series are: refused is what a quorum refuses for good.
func TestPartialSuccessOfARing(t *testing.T) {
	at := pcommon.Timestamp(second)
	for _, tc := range []struct {
		name       string
		replicas   int
		own, other func(labels.Labels) error
		all        bool // of the bad points are rejected
	}{
		{"each on one", 1, refuseBad, refuseBad, true},
		{"each on both", 2, refuseBad, refuseBad, true},
		{"each on both, this one refuses", 2, refuseBad, nil, false},
		{"each on both, the other one refuses", 2, nil, refuseBad, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			own, other := &recorder{appendErr: tc.own}, &recorder{appendErr: tc.other}
			md, bad := ringPoints(at)
			a := sendToRing(t, tc.replicas, own, other, md)
			want := int64(0)
			if tc.all {
				want = bad
			}
			if a.status != http.StatusOK || a.rejected != want || (want > 0) != strings.Contains(a.text, "out_of_order") {
				t.Errorf("answer %d, %d rejected, want %d: %s", a.status, a.rejected, want, a.text)
			}
			if len(own.stored) == 0 || len(other.stored) == 0 {
				t.Errorf("%d samples are stored here and %d there", len(own.stored), len(other.stored))
			}
		})
	}
	t.Run("all of all", func(t *testing.T) {
		refuse := func(labels.Labels) error { return storage.ErrOutOfOrderSample }
		md, _ := ringPoints(at)
		a := sendToRing(t, 1, &recorder{appendErr: refuse}, &recorder{appendErr: refuse}, md)
		if a.status != http.StatusBadRequest {
			t.Errorf("answer %d, %d rejected: %s", a.status, a.rejected, a.text)
		}
	})
	t.Run("one is away", func(t *testing.T) {
		md, _ := ringPoints(at)
		a := sendToRing(t, 1, &recorder{appendErr: refuseBad}, &recorder{openErr: errAway}, md)
		if a.status != http.StatusServiceUnavailable {
			t.Errorf("answer %d, %d rejected: %s", a.status, a.rejected, a.text)
		}
	})
}

var errAway = errors.Join(receive.ErrUnavailable, context.DeadlineExceeded)

func TestPartialSuccessOfLimits(t *testing.T) {
	limits := &receive.LimitSet{Default: receive.Limits{LabelValueBytes: 40}}
	to := &recorder{}
	h := newHandlerOn(t, to, receive.HandlerOptions{Limits: func() *receive.LimitSet { return limits }}, Options{})
	md, ms := newRequest()
	at := pcommon.Timestamp(second)
	gauge(ms, "short", 1, at)
	gauge(ms, "long", 1, at).Attributes().PutStr("text", strings.Repeat("x", 41))
	explicit(ms, "long_h", cumulative, at, 1, 2).Attributes().PutStr("text", strings.Repeat("x", 41))
	a := send(t, h, md)
	if a.status != http.StatusOK || a.rejected != 2 || !strings.Contains(a.text, "label_value_bytes_limit") {
		t.Errorf("answer %d, %d rejected, want 2: %s", a.status, a.rejected, a.text)
	}
}

func TestPartialSuccessUnderOtherLabels(t *testing.T) {
	rule := relabel.DefaultRelabelConfig
	rule.TargetLabel, rule.Replacement = "site", "here"
	rule.NameValidationScheme = model.UTF8Validation
	h := newHandlerOn(t, &recorder{appendErr: refuseBad}, receive.HandlerOptions{Relabel: []*relabel.Config{&rule}}, Options{})
	md, bad := ringPoints(pcommon.Timestamp(second))
	if a := send(t, h, md); a.status != http.StatusOK || a.rejected != bad {
		t.Errorf("answer %d, %d rejected, want %d: %s", a.status, a.rejected, bad, a.text)
	}
}
