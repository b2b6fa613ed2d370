package otlp_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"

	"github.com/varve-tsdb/varve/receive"
	"github.com/varve-tsdb/varve/receive/otlp"
)

// OTLP and remote write into the same heads. An SDK finds the handler with
// OTEL_EXPORTER_OTLP_ENDPOINT=http://host:port/api/v1/otlp.
func ExampleNewHandler() {
	dir, err := os.MkdirTemp("", "otlp")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	heads, err := receive.OpenTenants(dir, receive.TenantsOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer heads.Close()
	write, err := receive.NewHandler(heads, receive.HandlerOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	metrics, err := otlp.NewHandler(write, otlp.Options{PromoteResourceAttributes: []string{"k8s.namespace.name"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	mux := http.NewServeMux()
	mux.Handle("/api/v1/write", write)
	mux.Handle("/api/v1/otlp/v1/metrics", metrics)

	// The second point has no name, and costs nobody else.
	body := `{"resourceMetrics":[{"scopeMetrics":[{"metrics":[
		{"name":"room.temperature","unit":"Cel","gauge":{"dataPoints":[{"asDouble":21.5,"timeUnixNano":"1700000000000000000"}]}},
		{"name":"","gauge":{"dataPoints":[{"asInt":"1","timeUnixNano":"1700000000000000000"}]}}
	]}]}]}`
	req := httptest.NewRequest("POST", "/api/v1/otlp/v1/metrics", strings.NewReader(body))
	req.Header.Set("Content-Type", "application/json")
	answer := httptest.NewRecorder()
	mux.ServeHTTP(answer, req)
	fmt.Println(answer.Code, strings.Contains(answer.Body.String(), `"rejectedDataPoints":"1"`))
	// Output: 200 true
}
