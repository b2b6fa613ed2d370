package otlp

import (
	"math"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"google.golang.org/protobuf/encoding/protowire"
)

// The numbers of the fields of io.prometheus.write.v2.Request.
const (
	requestSymbols, requestSeries                                                  = 4, 5
	seriesLabels, seriesSamples, seriesHistograms, seriesExemplars, seriesMetadata = 1, 2, 3, 4, 5
	sampleValue, sampleTime, sampleStart                                           = 1, 2, 3
	exemplarLabels, exemplarValue, exemplarTime                                    = 1, 2, 3
	metadataType, metadataHelp, metadataUnit                                       = 1, 3, 4
	spanOffset, spanLength                                                         = 1, 2

	histogramCount, histogramSum, histogramSchema   = 1, 3, 4
	histogramZeroThreshold, histogramZeroCount      = 5, 6
	histogramNegativeSpans, histogramNegativeDeltas = 8, 9
	histogramPositiveSpans, histogramPositiveDeltas = 11, 12
	histogramResetHint, histogramTime               = 14, 15
	histogramCustomValues, histogramStart           = 16, 17
)

// message builds a request of remote write 2.0. It is the form in which what
// was translated is handed on, so that it goes the way of everything else.
type message struct {
	refs    map[string]uint32
	symbols []byte
	series  []byte

	// The parts of the series at hand.
	one, part, packed []byte
}

func (m *message) reset() {
	if m.refs == nil {
		m.refs = map[string]uint32{}
	}
	clear(m.refs)
	m.symbols, m.series = m.symbols[:0], m.series[:0]
	m.symbol("") // Reference 0 is the absent text.
}

// size is about how many bytes m holds on to.
func (m *message) size() int {
	const refSize = 40
	return cap(m.symbols) + cap(m.series) + cap(m.one) + cap(m.part) + cap(m.packed) + refSize*len(m.refs)
}

func (m *message) symbol(s string) uint32 {
	if ref, ok := m.refs[s]; ok {
		return ref
	}
	ref := uint32(len(m.refs))
	m.refs[s] = ref
	m.symbols = protowire.AppendTag(m.symbols, requestSymbols, protowire.BytesType)
	m.symbols = protowire.AppendString(m.symbols, s)
	return ref
}

// begin starts a series.
func (m *message) begin(ls labels.Labels) {
	m.one = appendPacked(m.one[:0], seriesLabels, m.labelRefs(ls))
}

// end adds the series that was begun to the request.
func (m *message) end() {
	m.series = appendBytes(m.series, requestSeries, m.one)
}

// labelRefs returns the references of labels, packed, until the next call.
func (m *message) labelRefs(ls labels.Labels) []byte {
	m.packed = m.packed[:0]
	ls.Range(func(l labels.Label) {
		m.packed = protowire.AppendVarint(m.packed, uint64(m.symbol(l.Name)))
		m.packed = protowire.AppendVarint(m.packed, uint64(m.symbol(l.Value)))
	})
	return m.packed
}

func (m *message) sample(st, t int64, v float64) {
	p := appendDouble(m.part[:0], sampleValue, v)
	p = appendInt(p, sampleTime, t)
	m.part = appendInt(p, sampleStart, st)
	m.one = appendBytes(m.one, seriesSamples, m.part)
}

func (m *message) exemplar(e exemplar.Exemplar) {
	p := appendPacked(m.part[:0], exemplarLabels, m.labelRefs(e.Labels))
	// Zero is written out: a list of elements without bytes is refused.
	p = protowire.AppendTag(p, exemplarValue, protowire.Fixed64Type)
	p = protowire.AppendFixed64(p, math.Float64bits(e.Value))
	if e.HasTs {
		p = appendInt(p, exemplarTime, e.Ts)
	}
	m.part = p
	m.one = appendBytes(m.one, seriesExemplars, p)
}

func (m *message) metadata(typ model.MetricType, help, unit string) {
	p := appendInt(m.part[:0], metadataType, metadataNumber(typ))
	p = appendInt(p, metadataHelp, int64(m.symbol(help)))
	m.part = appendInt(p, metadataUnit, int64(m.symbol(unit)))
	if len(m.part) > 0 {
		m.one = appendBytes(m.one, seriesMetadata, m.part)
	}
}

func metadataNumber(typ model.MetricType) int64 {
	switch typ {
	case model.MetricTypeCounter:
		return 1
	case model.MetricTypeGauge:
		return 2
	case model.MetricTypeHistogram:
		return 3
	case model.MetricTypeGaugeHistogram:
		return 4
	case model.MetricTypeSummary:
		return 5
	case model.MetricTypeInfo:
		return 6
	case model.MetricTypeStateset:
		return 7
	}
	return 0
}

// histogram adds an integer histogram. The translator makes no others.
func (m *message) histogram(st, t int64, h *histogram.Histogram) {
	// Without the field for its count it would be no integer histogram.
	p := protowire.AppendTag(m.part[:0], histogramCount, protowire.VarintType)
	p = protowire.AppendVarint(p, h.Count)
	p = appendDouble(p, histogramSum, h.Sum)
	p = appendSigned(p, histogramSchema, int64(h.Schema))
	p = appendDouble(p, histogramZeroThreshold, h.ZeroThreshold)
	p = appendInt(p, histogramZeroCount, int64(h.ZeroCount))
	p = m.spans(p, histogramNegativeSpans, h.NegativeSpans)
	p = m.deltas(p, histogramNegativeDeltas, h.NegativeBuckets)
	p = m.spans(p, histogramPositiveSpans, h.PositiveSpans)
	p = m.deltas(p, histogramPositiveDeltas, h.PositiveBuckets)
	p = appendInt(p, histogramResetHint, resetNumber(h.CounterResetHint))
	p = appendInt(p, histogramTime, t)
	m.packed = m.packed[:0]
	for _, bound := range h.CustomValues {
		m.packed = protowire.AppendFixed64(m.packed, math.Float64bits(bound))
	}
	p = appendPacked(p, histogramCustomValues, m.packed)
	m.part = appendInt(p, histogramStart, st)
	m.one = appendBytes(m.one, seriesHistograms, m.part)
}

func resetNumber(hint histogram.CounterResetHint) int64 {
	switch hint {
	case histogram.CounterReset:
		return 1
	case histogram.NotCounterReset:
		return 2
	case histogram.GaugeType:
		return 3
	}
	return 0
}

func (m *message) spans(to []byte, num protowire.Number, spans []histogram.Span) []byte {
	for _, s := range spans {
		m.packed = appendSigned(m.packed[:0], spanOffset, int64(s.Offset))
		m.packed = appendInt(m.packed, spanLength, int64(s.Length))
		to = appendBytes(to, num, m.packed)
	}
	return to
}

func (m *message) deltas(to []byte, num protowire.Number, deltas []int64) []byte {
	m.packed = m.packed[:0]
	for _, d := range deltas {
		m.packed = protowire.AppendVarint(m.packed, protowire.EncodeZigZag(d))
	}
	return appendPacked(to, num, m.packed)
}

func appendBytes(to []byte, num protowire.Number, b []byte) []byte {
	to = protowire.AppendTag(to, num, protowire.BytesType)
	return protowire.AppendBytes(to, b)
}

// appendPacked is appendBytes for a list, which is absent when it is empty.
func appendPacked(to []byte, num protowire.Number, b []byte) []byte {
	if len(b) == 0 {
		return to
	}
	return appendBytes(to, num, b)
}

func appendInt(to []byte, num protowire.Number, v int64) []byte {
	if v == 0 {
		return to
	}
	to = protowire.AppendTag(to, num, protowire.VarintType)
	return protowire.AppendVarint(to, uint64(v))
}

func appendSigned(to []byte, num protowire.Number, v int64) []byte {
	if v == 0 {
		return to
	}
	to = protowire.AppendTag(to, num, protowire.VarintType)
	return protowire.AppendVarint(to, protowire.EncodeZigZag(v))
}

func appendDouble(to []byte, num protowire.Number, v float64) []byte {
	if bits := math.Float64bits(v); bits != 0 {
		to = protowire.AppendTag(to, num, protowire.Fixed64Type)
		to = protowire.AppendFixed64(to, bits)
	}
	return to
}
