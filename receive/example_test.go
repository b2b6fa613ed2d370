package receive_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"

	"github.com/varve-tsdb/varve/receive"
)

// The usual wiring: heads on the local disk behind the handler.
func ExampleNewHandler() {
	dir, err := os.MkdirTemp("", "receive")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	heads, err := receive.OpenTenants(dir, receive.TenantsOptions{Labels: labels.FromStrings("receiver", "a")})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer heads.Close()
	handler, err := receive.NewHandler(heads, receive.HandlerOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	mux := http.NewServeMux()
	mux.Handle("/api/v1/receive", handler)

	// A sender that speaks something else is told what is understood.
	req := httptest.NewRequest("POST", "/api/v1/receive", strings.NewReader("{}"))
	req.Header.Set("Content-Type", "application/json")
	answer := httptest.NewRecorder()
	mux.ServeHTTP(answer, req)
	fmt.Println(answer.Code)
	// Output: 415
}

// discard is a storage of a host's own. It has one method; this one is also its
// own appender.
type discard struct{}

func (d discard) Appender(context.Context, string) (storage.AppenderV2, error) { return d, nil }

func (discard) Append(_ storage.SeriesRef, ls labels.Labels, _, t int64, v float64, _ *histogram.Histogram, _ *histogram.FloatHistogram, _ storage.AppendV2Options) (storage.SeriesRef, error) {
	if ls.Get("secret") != "" {
		return 0, fmt.Errorf("label secret: %w", errForbidden{})
	}
	return 1, nil
}

func (discard) Commit() error   { return nil }
func (discard) Rollback() error { return nil }

// errForbidden says by itself that sending the sample again cannot help.
type errForbidden struct{}

func (errForbidden) Error() string   { return "forbidden here" }
func (errForbidden) Retryable() bool { return false }

// How a host's own errors become verdicts.
func ExampleReasonOf() {
	for _, err := range []error{nil, storage.ErrOutOfOrderSample, errForbidden{}, receive.ErrUnavailable} {
		r := receive.ReasonOf(err)
		fmt.Println(r, r.Class(), r.Status())
	}
	_, err := receive.NewHandler(discard{}, receive.HandlerOptions{DefaultTenant: "../up"})
	fmt.Println(err)
	// Output:
	// stored accepted 204
	// out_of_order final 400
	// refused_by_storage final 400
	// storage_unavailable retryable 503
	// receive handler options: DefaultTenant: tenant "../up": invalid tenant name: it contains a path separator
}
