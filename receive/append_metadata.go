package receive

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/metadata"
)

// MetadataAppender is an optional power of an Appendable: to keep the metadata
// of 1.0 requests, which travels apart from samples. Without it such metadata
// is accepted and dropped. It must not bring a tenant into being. The strings
// may be kept. An error is logged and counted and never fails a request, since
// senders repeat all metadata every minute.
type MetadataAppender interface {
	AppendMetadata(ctx context.Context, tenant, family string, m metadata.Metadata) error
}

// checkMetadata returns an error if the metadata of a 1.0 request is malformed.
func (a *appendRun) checkMetadata() error {
	for i := range a.req.NumMetadata() {
		if _, err := a.req.Metadata(i); err != nil {
			return fmt.Errorf("metadata %d: %w", i, err)
		}
	}
	return nil
}

// appendMetadata hands over the metadata of a 1.0 request. It returns how many
// entries the storage did not take, and why not the last of them.
func (a *appendRun) appendMetadata(ctx context.Context) (failed int, last error) {
	to, ok := a.to.(MetadataAppender)
	if !ok {
		return 0, nil
	}
	for i := range a.req.NumMetadata() {
		m, err := a.req.Metadata(i)
		family := validText(m.Family)
		if err != nil || family == "" {
			continue
		}
		err = to.AppendMetadata(ctx, a.tenant, family, metadata.Metadata{
			Type: m.Type, Unit: validText(m.Unit), Help: validText(m.Help),
		})
		if err != nil {
			failed, last = failed+1, err
		}
	}
	return failed, last
}

// validText copies a text that people read. What is not UTF-8 in it is
// replaced: no sample depends on it.
func validText(b []byte) string { return strings.ToValidUTF8(string(b), "\uFFFD") }

// seriesMetadata puts the metadata of a 2.0 series into the options of t.
func (a *appendRun) seriesMetadata(t *appendTarget) appendRefusal {
	if !a.series.HasMetadata {
		return appendRefusal{}
	}
	m := a.series.Metadata
	help, err := a.metadataText(m.HelpRef)
	if err != nil {
		return appendRefusal{reason: ReasonBadSymbol, err: fmt.Errorf("help of its metadata: %w", err)}
	}
	unit, err := a.metadataText(m.UnitRef)
	if err != nil {
		return appendRefusal{reason: ReasonBadSymbol, err: fmt.Errorf("unit of its metadata: %w", err)}
	}
	t.opts.Metadata = metadata.Metadata{Type: m.Type, Help: help, Unit: unit}
	return appendRefusal{}
}

// nameFamily tells the storage which metric family the metadata of t is of.
func (a *appendRun) nameFamily(t *appendTarget) {
	if !t.opts.Metadata.IsEmpty() {
		native := len(a.series.Histograms) > 0
		t.opts.MetricFamilyName = metricFamily(t.ls.Get(model.MetricNameLabel), t.opts.Metadata.Type, native)
	}
}

// metadataText returns symbol ref as a string that may be kept. Many series of
// a request share one, so each is copied once. Reference 0 is the absent text.
func (a *appendRun) metadataText(ref uint32) (string, error) {
	if ref == 0 {
		return "", nil
	}
	if text, ok := a.texts[ref]; ok {
		return text, nil
	}
	b, err := a.req.Symbol(ref)
	if err != nil {
		return "", err
	}
	text := validText(b)
	a.texts[ref] = text
	return text, nil
}

// metricFamily returns the family that a series belongs to. 2.0 does not say
// it, but for the types that are spread over several series the suffixes do.
func metricFamily(name string, typ model.MetricType, native bool) string {
	if native {
		return name
	}
	var suffixes []string
	switch typ {
	case model.MetricTypeHistogram:
		suffixes = []string{"_bucket", "_count", "_sum"}
	case model.MetricTypeGaugeHistogram:
		suffixes = []string{"_bucket", "_gcount", "_gsum"}
	case model.MetricTypeSummary:
		suffixes = []string{"_count", "_sum"}
	}
	i := slices.IndexFunc(suffixes, func(s string) bool { return strings.HasSuffix(name, s) && len(name) > len(s) })
	if i < 0 {
		return name
	}
	return strings.TrimSuffix(name, suffixes[i])
}
