package query

import (
	jsoniter "github.com/json-iterator/go"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/util/jsonutil"
)

// jsonAPI is the codec of Prometheus, so that answers are the same to the byte:
// HTML is escaped in lists of strings but, as there, not in label sets.
var jsonAPI = jsoniter.ConfigCompatibleWithStandardLibrary

// flushSize is how much of an answer is encoded before it is sent on.
const flushSize = 64 << 10

// flush sends what is encoded, if that is much, to the body the stream belongs
// to. The stream itself has no writer, for it would send small pieces too.
func flush(stream *jsoniter.Stream) {
	if b, ok := stream.Attachment.(*body); ok && stream.Buffered() >= flushSize && stream.Error == nil {
		_, stream.Error = b.Write(stream.Buffer())
		stream.SetBuffer(stream.Buffer()[:0])
	}
}

// writeData encodes the data of an answer. Big ones are flushed on the way.
func writeData(stream *jsoniter.Stream, data any) {
	switch data := data.(type) {
	case queryData:
		writeQueryData(stream, data)
	case []labels.Labels:
		writeList(stream, data, writeLabels)
	case []string:
		writeList(stream, data, func(stream *jsoniter.Stream, s string) { stream.WriteVal(s) })
	case []exemplar.QueryResult:
		writeList(stream, data, writeExemplars)
	default:
		stream.WriteVal(data)
	}
}

func writeList[T any](stream *jsoniter.Stream, list []T, write func(*jsoniter.Stream, T)) {
	stream.WriteArrayStart()
	for i, one := range list {
		if stream.Error != nil {
			return
		}
		if i > 0 {
			stream.WriteMore()
		}
		write(stream, one)
		flush(stream)
	}
	stream.WriteArrayEnd()
}

func writeQueryData(stream *jsoniter.Stream, data queryData) {
	stream.WriteObjectStart()
	stream.WriteObjectField("resultType")
	stream.WriteString(string(data.value.Type()))
	stream.WriteMore()
	stream.WriteObjectField("result")
	switch v := data.value.(type) {
	case promql.Matrix:
		writeList(stream, v, writeSeries)
	case promql.Vector:
		writeList(stream, v, writeSample)
	default: // scalars and strings encode themselves
		stream.WriteVal(v)
	}
	if data.stats != nil {
		stream.WriteMore()
		stream.WriteObjectField("stats")
		stream.WriteVal(data.stats)
	}
	stream.WriteObjectEnd()
}

func writeSeries(stream *jsoniter.Stream, s promql.Series) {
	stream.WriteObjectStart()
	stream.WriteObjectField("metric")
	writeLabels(stream, s.Metric)
	if len(s.Floats) > 0 {
		stream.WriteMore()
		stream.WriteObjectField("values")
		writeList(stream, s.Floats, func(stream *jsoniter.Stream, p promql.FPoint) { writePoint(stream, p.T, p.F, nil) })
	}
	if len(s.Histograms) > 0 {
		stream.WriteMore()
		stream.WriteObjectField("histograms")
		writeList(stream, s.Histograms, func(stream *jsoniter.Stream, p promql.HPoint) { writePoint(stream, p.T, 0, p.H) })
	}
	stream.WriteObjectEnd()
}

func writeSample(stream *jsoniter.Stream, s promql.Sample) {
	stream.WriteObjectStart()
	stream.WriteObjectField("metric")
	writeLabels(stream, s.Metric)
	stream.WriteMore()
	if s.H == nil {
		stream.WriteObjectField("value")
	} else {
		stream.WriteObjectField("histogram")
	}
	writePoint(stream, s.T, s.F, s.H)
	stream.WriteObjectEnd()
}

// writePoint writes the time and the histogram, or the float if that is nil.
func writePoint(stream *jsoniter.Stream, t int64, f float64, h *histogram.FloatHistogram) {
	stream.WriteArrayStart()
	jsonutil.MarshalTimestamp(t, stream)
	stream.WriteMore()
	if h == nil {
		jsonutil.MarshalFloat(f, stream)
	} else {
		jsonutil.MarshalHistogram(h, stream)
	}
	stream.WriteArrayEnd()
}

func writeLabels(stream *jsoniter.Stream, lset labels.Labels) {
	stream.WriteObjectStart()
	first := true
	lset.Range(func(l labels.Label) {
		if !first {
			stream.WriteMore()
		}
		first = false
		stream.WriteString(l.Name)
		stream.WriteRaw(":")
		stream.WriteString(l.Value)
	})
	stream.WriteObjectEnd()
}

func writeExemplars(stream *jsoniter.Stream, r exemplar.QueryResult) {
	stream.WriteObjectStart()
	stream.WriteObjectField("seriesLabels")
	writeLabels(stream, r.SeriesLabels)
	stream.WriteMore()
	stream.WriteObjectField("exemplars")
	writeList(stream, r.Exemplars, writeExemplar)
	stream.WriteObjectEnd()
}

func writeExemplar(stream *jsoniter.Stream, e exemplar.Exemplar) {
	stream.WriteObjectStart()
	stream.WriteObjectField("labels")
	writeLabels(stream, e.Labels)
	stream.WriteMore()
	stream.WriteObjectField("value")
	jsonutil.MarshalFloat(e.Value, stream)
	stream.WriteMore()
	stream.WriteObjectField("timestamp")
	jsonutil.MarshalTimestamp(e.Ts, stream)
	stream.WriteObjectEnd()
}
