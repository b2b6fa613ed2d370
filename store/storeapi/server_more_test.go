package storeapi

import (
	"errors"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/varve-tsdb/varve/query/querytest"
)

// Queries that would keep the parser busy for hours, on a stack that grows, are not
// parsed.
func TestExemplarsOfAQueryThatNestsTooDeep(t *testing.T) {
	c := over(t, querytest.NewModel(querytest.Data{}), way{})
	for _, deep := range []int{10, 6000} {
		req := &exemplarsRequest{query: strings.Repeat("(", deep) + "up" + strings.Repeat(")", deep)}
		_, err := c.list(t.Context(), exemplarsMethod, false, req.encode(), func(*info) bool { return true }, nil)
		var answer *StatusError
		refused := errors.As(err, &answer) && answer.Code == codes.InvalidArgument && strings.Contains(answer.Text, "parentheses")
		if want := deep > 5000; refused != want || !want && err != nil {
			t.Errorf("%d parentheses: %v", deep, err)
		}
	}
}
