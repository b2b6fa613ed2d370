package wiring

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/varve-tsdb/varve/dedup"
	"github.com/varve-tsdb/varve/query"
	"github.com/varve-tsdb/varve/query/querytest"
)

// Names and values of labels are those that a selector may use, series those
// that are left when replicas are merged.
func TestReplicaLabelsAreListed(t *testing.T) {
	model := querytest.NewModel(querytest.Data{})
	for _, replica := range []string{"a", "b"} {
		if err := model.Append(labels.FromStrings("replica", replica), labels.FromStrings("__name__", "up"), querytest.Sample{T: 1000}); err != nil {
			t.Fatal(err)
		}
	}
	engine, err := query.NewEngine(query.EngineOptions{})
	if err != nil {
		t.Fatal(err)
	}
	api, err := query.NewHandler(engine, dedup.New(model, dedup.Options{ReplicaLabels: []string{"replica"}}), query.HandlerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"label/replica/values":                             `["a","b"]`,
		"label/replica/values?match[]=up&dedup=true":       `["a","b"]`,
		"label/replica/values?match[]=up{replica=%22b%22}": `["b"]`,
		"labels": `["__name__","replica"]`,
		"labels?match[]=up&replicaLabels[]=replica":         `["__name__","replica"]`,
		"series?match[]=up":                                 `[{"__name__":"up"}]`,
		"series?match[]=up{replica=%22b%22}&dedup=false":    `[{"__name__":"up","replica":"b"}]`,
		"query?time=1&query=count(up)":                      `{"resultType":"vector","result":[{"metric":{},"value":[1,"1"]}]}`,
		"query?time=1&query=count(up{replica=~%22a|b%22})":  `{"resultType":"vector","result":[{"metric":{},"value":[1,"1"]}]}`,
		"query?time=1&query=count(up{replica=~%22.%2B%22})": `{"resultType":"vector","result":[{"metric":{},"value":[1,"1"]}]}`,
		"query?time=1&query=count(up{replica!~%22a|b%22})":  `{"resultType":"vector","result":[]}`,
		"query?time=1&dedup=false&query=count(up)":          `{"resultType":"vector","result":[{"metric":{},"value":[1,"2"]}]}`,
	} {
		rec := httptest.NewRecorder()
		api.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/api/v1/"+path, nil))
		if got := rec.Body.String(); got != `{"status":"success","data":`+want+`}` {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}
