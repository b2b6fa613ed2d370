package querytest_test

import (
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"

	"github.com/varve-tsdb/varve/query/querytest"
)

func TestModelConforms(t *testing.T) {
	open := func(_ *testing.T, data querytest.Data) storage.ChunkQueryable { return querytest.NewModel(data) }
	t.Run("default", func(t *testing.T) {
		querytest.Run(t, querytest.Options{Exemplars: true, Metadata: true}, open)
	})
	t.Run("no external labels", func(t *testing.T) {
		querytest.Run(t, querytest.Options{External: []labels.Labels{labels.EmptyLabels()}}, open)
	})
}
