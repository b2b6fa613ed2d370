package otlp

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/varve-tsdb/varve/receive"
)

// strictStorage fails the test for what a TSDB must never be given.
type strictStorage struct{ t *testing.T }

func (s strictStorage) Appender(context.Context, string) (storage.AppenderV2, error) { return s, nil }

func (s strictStorage) Append(_ storage.SeriesRef, ls labels.Labels, _, ts int64, _ float64, h *histogram.Histogram, _ *histogram.FloatHistogram, opts storage.AppendV2Options) (storage.SeriesRef, error) {
	if dup, ok := ls.HasDuplicateLabelNames(); ok || ls.Get("__name__") == "" || !ls.IsValid(2) {
		s.t.Errorf("labels %s are stored (duplicate %q)", ls, dup)
	}
	if h != nil {
		if err := h.Validate(); err != nil {
			s.t.Errorf("histogram %s: %v", h, err)
		}
	}
	for _, e := range opts.Exemplars {
		if dup, ok := e.Labels.HasDuplicateLabelNames(); ok {
			s.t.Errorf("exemplar labels %s have %q twice", e.Labels, dup)
		}
	}
	return 1, nil
}

func (strictStorage) Commit() error   { return nil }
func (strictStorage) Rollback() error { return nil }

// FuzzOTLP sends bodies of any kind. Every answer is one of the table, what is
// stored is valid, and neither the decoder nor the translator fails in a way
// that they do not say.
func FuzzOTLP(f *testing.F) {
	for _, md := range []pmetric.Metrics{everyType(), deltaRequest(second, 3), pmetric.NewMetrics()} {
		f.Add(proto(f, md), uint8(0))
		f.Add(jsonBody(f, md), uint8(1))
		f.Add(proto(f, md), uint8(6))
		f.Add(jsonBody(f, md), uint8(29))
	}
	f.Add(nested(100), uint8(0))
	f.Fuzz(func(t *testing.T, body []byte, settings uint8) {
		write, err := receive.NewHandler(strictStorage{t}, receive.HandlerOptions{MaxDecodedBytes: 1 << 20})
		if err != nil {
			t.Fatal(err)
		}
		opts := Options{
			Delta:                   Delta((settings >> 1 & 3) % 3),
			ConvertHistogramsToNHCB: settings&8 != 0, PromoteAllResourceAttributes: settings&16 != 0,
			PromoteScopeMetadata: settings&32 != 0, TypeAndUnitLabels: settings&64 != 0,
		}
		if settings&128 != 0 {
			opts.TranslationStrategy = "NoTranslation"
		}
		h, err := NewHandler(write, opts)
		if err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(body))
		r.Header.Set("Content-Type", protoType)
		if settings&1 != 0 {
			r.Header.Set("Content-Type", jsonType)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		a := readAnswer(t, w)
		switch a.status {
		case http.StatusOK, http.StatusBadRequest, http.StatusRequestEntityTooLarge:
		default:
			t.Errorf("answer %d: %s", a.status, a.text)
		}
		for _, failure := range []string{"decoding it failed", "model failed", "could not be handed on", "could not be translated"} {
			if strings.Contains(a.text, failure) {
				t.Errorf("answer %d: %s", a.status, a.text)
			}
		}
	})
}
