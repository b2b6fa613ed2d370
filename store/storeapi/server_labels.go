package storeapi

import (
	"context"
	"errors"
	"slices"

	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/annotations"
)

// labels is the methods LabelNames and LabelValues.
func (s *Server) labels(ctx context.Context, body []byte, values bool) (encoded, error) {
	req, err := decodeLabelsRequest(body, values)
	if err == nil && values && req.label == "" {
		err = errors.New("the name of the label is empty; say of which one values are wanted")
	}
	if err != nil {
		return nil, &requestError{err}
	}
	if values && slices.Contains(req.without, req.label) {
		return nil, nil
	}
	ctx, closed := s.account(reading(ctx, req.strict, 0))
	defer closed()
	res, err := s.readLabels(ctx, req)
	return res, sourceError(err, req.strict)
}

func (s *Server) readLabels(ctx context.Context, req *labelsRequest) (answer encoded, err error) {
	q, err := s.querier(req.mint, req.maxt, req.without)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, q.Close()) }()
	var (
		warnings annotations.Annotations
		hints    = &storage.LabelHints{Limit: int(max(req.limit, 0))}
	)
	res := &labelsResponse{}
	if req.values {
		res.list, warnings, err = q.LabelValues(ctx, req.label, hints, req.matchers...)
	} else {
		res.list, warnings, err = q.LabelNames(ctx, hints, req.matchers...)
	}
	if err != nil {
		return nil, err
	}
	for _, w := range warnings.AsErrors() {
		res.warnings = append(res.warnings, clip(w.Error()))
	}
	// The strings may lie in memory of the querier, which is still open.
	return res.encode(), nil
}
