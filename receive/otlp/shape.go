package otlp

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// maxDepth bounds how deep the values of attributes may nest. The decoder calls
// itself for each level, and a goroutine that runs out of stack ends the
// process: a body of a few megabytes would be enough.
const maxDepth = 64

// errDepth is what a body nested deeper than maxDepth is refused with.
var errDepth = fmt.Errorf("values are nested deeper than %d levels", maxDepth)

// errExpands is what a body is refused with that would take too much memory.
var errExpands = errors.New("the data takes too much memory once decoded; send fewer data points a request")

// shapeKind is a message of OTLP, as far as it holds others.
type shapeKind uint8

const (
	shapeOther shapeKind = iota // holds nothing that matters here
	shapeRequest
	shapeResourceMetrics
	shapeResource
	shapeScopeMetrics
	shapeScope
	shapeMetric
	shapeNumbers // Gauge and Sum
	shapeHistogram
	shapeExponential
	shapeSummary
	shapeNumberPoint
	shapeHistogramPoint
	shapeExponentialPoint
	shapeBuckets
	shapeSummaryPoint
	shapeExemplar
	shapeKeyValue
	shapeValue
	shapeArray
	shapeMap
)

// shapeFields are the messages inside of each message of
// opentelemetry/proto/collector/metrics/v1/metrics_service.proto and those it
// imports, by the number of the field.
var shapeFields = [...]map[protowire.Number]shapeKind{
	shapeRequest:          {1: shapeResourceMetrics},
	shapeResourceMetrics:  {1: shapeResource, 2: shapeScopeMetrics},
	shapeResource:         {1: shapeKeyValue, 3: shapeOther},
	shapeScopeMetrics:     {1: shapeScope, 2: shapeMetric},
	shapeScope:            {3: shapeKeyValue},
	shapeMetric:           {5: shapeNumbers, 7: shapeNumbers, 9: shapeHistogram, 10: shapeExponential, 11: shapeSummary, 12: shapeKeyValue},
	shapeNumbers:          {1: shapeNumberPoint},
	shapeHistogram:        {1: shapeHistogramPoint},
	shapeExponential:      {1: shapeExponentialPoint},
	shapeSummary:          {1: shapeSummaryPoint},
	shapeNumberPoint:      {5: shapeExemplar, 7: shapeKeyValue},
	shapeHistogramPoint:   {8: shapeExemplar, 9: shapeKeyValue},
	shapeExponentialPoint: {1: shapeKeyValue, 8: shapeBuckets, 9: shapeBuckets, 11: shapeExemplar},
	shapeBuckets:          {},
	shapeSummaryPoint:     {6: shapeOther, 7: shapeKeyValue},
	shapeExemplar:         {7: shapeKeyValue},
	shapeKeyValue:         {2: shapeValue},
	shapeValue:            {5: shapeArray, 6: shapeMap},
	shapeArray:            {1: shapeValue},
	shapeMap:              {1: shapeKeyValue},
	shapeOther:            nil,
}

// shapeBytes is about what a message takes in memory without what is inside;
// most are a few bytes when they are empty, and small ones are inside others.
func shapeBytes(kind shapeKind) int64 {
	switch kind {
	case shapeKeyValue, shapeValue, shapeArray, shapeMap:
		return 48
	case shapeOther:
		return 64
	}
	return 256
}

// errFrame is what a body is refused with whose frame is not that of protobuf.
// The decoder bears with more than that, and would see fields where this does
// not, so what is not understood here is not handed to it.
var errFrame = errors.New("it is no protobuf, or cut short")

// checkProto walks a protobuf request without decoding it, and returns an error
// if decoding would take more than limit bytes or nests too deep.
func checkProto(body []byte, limit int64) error {
	s := shapeScan{left: limit}
	return s.message(shapeRequest, body, 0)
}

type shapeScan struct{ left int64 }

func (s *shapeScan) message(kind shapeKind, body []byte, depth int) error {
	if depth > maxDepth {
		return errDepth
	}
	if s.left -= shapeBytes(kind); s.left < 0 {
		return errExpands
	}
	if kind == shapeBuckets {
		// Counts of one byte each become numbers of eight.
		s.left -= 8 * int64(len(body))
	}
	fields := shapeFields[kind]
	for len(body) > 0 {
		num, typ, n := protowire.ConsumeTag(body)
		if n < 0 {
			return errFrame
		}
		body = body[n:]
		if typ != protowire.BytesType {
			if n = protowire.ConsumeFieldValue(num, typ, body); n < 0 {
				return errFrame
			}
			body = body[n:]
			continue
		}
		inner, n := protowire.ConsumeBytes(body)
		if n < 0 {
			return errFrame
		}
		if child, ok := fields[num]; ok {
			if err := s.message(child, inner, depth+1); err != nil {
				return err
			}
		} else {
			s.left -= int64(len(inner))
		}
		body = body[n:]
	}
	if s.left < 0 {
		return errExpands
	}
	return nil
}

// The depths and sizes of JSON: a level of attributes is up to four brackets.
const (
	jsonDepth      = 32 + 4*maxDepth
	jsonBraceBytes = 128
	jsonCommaBytes = 16
)

// checkJSON is checkProto for JSON.
func checkJSON(body []byte, limit int64) error {
	left := limit - int64(len(body))
	var depth int
	for i := 0; i < len(body); i++ {
		switch body[i] {
		case '"':
			i = stringEnd(body, i)
		case '{', '[':
			if depth++; depth > jsonDepth {
				return errDepth
			}
			left -= jsonBraceBytes
		case '}', ']':
			depth--
		case ',':
			left -= jsonCommaBytes
		}
		if left < 0 {
			return errExpands
		}
	}
	return nil
}

// stringEnd returns the position of the quote that ends the string that begins
// at i, or that of the last byte.
func stringEnd(body []byte, i int) int {
	for i++; i < len(body); i++ {
		switch body[i] {
		case '\\':
			i++
		case '"':
			return i
		}
	}
	return len(body) - 1
}
