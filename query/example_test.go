package query_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"

	"github.com/varve-tsdb/varve/query"
	"github.com/varve-tsdb/varve/query/querytest"
)

// Two sources that hold different times of the same series answer as one.
func Example() {
	up := labels.FromStrings("__name__", "up")
	recent, history := querytest.NewModel(querytest.Data{}), querytest.NewModel(querytest.Data{})
	_ = history.Append(labels.FromStrings("cluster", "eu"), up, querytest.Sample{T: 0, Float: 1})
	_ = recent.Append(labels.FromStrings("cluster", "eu"), up, querytest.Sample{T: 60_000, Float: 2})

	all := query.NewFanout([]storage.ChunkQueryable{recent, history}, query.FanoutOptions{})
	engine, err := query.NewEngine(query.EngineOptions{})
	if err != nil {
		panic(err)
	}
	handler, err := query.NewHandler(engine, all, query.HandlerOptions{})
	if err != nil {
		panic(err)
	}
	server := httptest.NewServer(handler)
	defer server.Close()

	resp, err := http.Get(server.URL + "/api/v1/query_range?query=up&start=0&end=60&step=60")
	if err != nil {
		panic(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	fmt.Println(string(body))
	// Output: {"status":"success","data":{"resultType":"matrix","result":[{"metric":{"__name__":"up","cluster":"eu"},"values":[[0,"1"],[60,"2"]]}]}}
}
