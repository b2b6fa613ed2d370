package otlp

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"strings"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
)

// deltaKey identifies a stream as the data model of OpenTelemetry does: by
// resource, scope, metric and attributes. It is long enough for two streams
// never to share one.
type deltaKey [16]byte

// deltaHasher makes keys. It is reused; its memory is that of one key.
type deltaHasher struct {
	text  []byte
	attrs []deltaAttr
}

type deltaAttr struct {
	key   string
	value pcommon.Value
}

func (h *deltaHasher) key(res pcommon.Resource, scope pcommon.InstrumentationScope, m pmetric.Metric, p point) (key deltaKey) {
	h.text = h.text[:0]
	h.attributes(res.Attributes())
	h.string(scope.Name())
	h.string(scope.Version())
	h.attributes(scope.Attributes())
	h.string(m.Name())
	h.string(m.Unit())
	h.text = append(h.text, byte(m.Type()))
	if m.Type() == pmetric.MetricTypeSum && m.Sum().IsMonotonic() {
		h.text = append(h.text, 1)
	}
	h.attributes(p.common().Attributes())
	sum := sha256.Sum256(h.text)
	copy(key[:], sum[:])
	return key
}

func (h *deltaHasher) string(s string) {
	h.text = binary.AppendUvarint(h.text, uint64(len(s)))
	h.text = append(h.text, s...)
}

// attributes adds attributes, whose order means nothing.
func (h *deltaHasher) attributes(attrs pcommon.Map) {
	h.attrs = h.attrs[:0]
	for key, v := range attrs.All() {
		h.attrs = append(h.attrs, deltaAttr{key, v})
	}
	slices.SortFunc(h.attrs, func(a, b deltaAttr) int { return strings.Compare(a.key, b.key) })
	h.text = binary.AppendUvarint(h.text, uint64(len(h.attrs)))
	for _, a := range h.attrs {
		h.string(a.key)
		h.text = append(h.text, byte(a.value.Type()))
		h.string(a.value.AsString())
	}
}
