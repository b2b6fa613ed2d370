package storeapi

import (
	"context"
	"maps"
	"slices"

	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/annotations"
	"google.golang.org/grpc"

	"github.com/varve-tsdb/varve/internal/exprsize"
)

// metadataSource is the optional interface of a source that has metadata of
// metrics; see package query.
type metadataSource interface {
	MetricMetadata(ctx context.Context, metric string, limit int) (map[string][]metadata.Metadata, error)
}

// exemplars is the method Exemplars.
func (s *Server) exemplars(body []byte, stream grpc.ServerStream) error {
	req, err := decodeExemplarsRequest(body)
	if err != nil {
		return &requestError{err}
	}
	if err := exprsize.Check(req.query); err != nil {
		return &requestError{err}
	}
	expr, err := s.parser.ParseExpr(req.query)
	if err != nil {
		return &requestError{err}
	}
	selectors := parser.ExtractSelectors(expr)
	if len(selectors) == 0 {
		return nil
	}
	results, warnings, err := s.readExemplars(reading(stream.Context(), req.strict, 0), req, selectors)
	if err != nil {
		return sourceError(err, req.strict)
	}
	for _, r := range results {
		if err := stream.SendMsg(encoded(encodeExemplars(r))); err != nil {
			return &sentError{err}
		}
	}
	return sendWarnings(stream, warnings.AsErrors())
}

func (s *Server) readExemplars(ctx context.Context, req *exemplarsRequest, selectors [][]*labels.Matcher) ([]exemplar.QueryResult, annotations.Annotations, error) {
	q, err := s.source.(storage.ExemplarQueryable).ExemplarQuerier(ctx)
	if err != nil {
		return nil, nil, err
	}
	results, err := q.Select(req.mint, req.maxt, selectors...)
	var warnings annotations.Annotations
	if w, ok := q.(interface {
		Warnings() annotations.Annotations
	}); ok {
		warnings = w.Warnings()
	}
	return results, warnings, err
}

// metricMetadata is the method MetricMetadata.
func (s *Server) metricMetadata(body []byte, stream grpc.ServerStream) error {
	req, err := decodeMetadataRequest(body)
	if err != nil {
		return &requestError{err}
	}
	if req.limit == 0 { // which is none at all, and negative is no limit
		return nil
	}
	found, err := s.source.(metadataSource).MetricMetadata(reading(stream.Context(), req.strict, 0), req.metric, int(max(req.limit, 0)))
	if err != nil && (found == nil || req.strict) {
		return sourceError(err, req.strict)
	}
	for _, family := range slices.Sorted(maps.Keys(found)) {
		if err := stream.SendMsg(encoded(encodeMetadata(family, found[family]))); err != nil {
			return &sentError{err}
		}
	}
	if err == nil {
		return nil
	}
	// Both may be there: metadata of some sources, and the failures of others.
	list := []error{err}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		list = joined.Unwrap()
	}
	return sendWarnings(stream, list)
}

// sendWarnings sends warnings of exemplars or metadata, which have the same field.
func sendWarnings(stream grpc.ServerStream, list []error) error {
	for _, w := range list {
		if err := stream.SendMsg(encoded(appendString(nil, 2, clip(w.Error())))); err != nil {
			return &sentError{err}
		}
	}
	return nil
}

// noLimit is how a request says that all metadata are wanted.
const noLimit = -1
