package otlp

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/otlptranslator"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/storage/remote/otlptranslator/prometheusremotewrite"
)

// Delta is what becomes of metrics of delta temporality.
type Delta uint8

// The ways to treat delta temporality.
const (
	// DeltaRefused refuses the data points of such metrics, as Prometheus does
	// by itself. The rest of the request is stored.
	DeltaRefused Delta = iota
	// DeltaNative stores the points as they are, as metrics of unknown type;
	// Prometheus' feature otlp-native-delta-ingestion.
	DeltaNative
	// DeltaCumulative adds the points up to cumulative ones, in memory;
	// Prometheus' feature otlp-deltatocumulative. See the package documentation.
	DeltaCumulative
)

// Options are the settings of a Handler. The zero value is what Prometheus does
// without configuration. Those of translation are named as in the section otlp
// of Prometheus' configuration, where they are explained too.
type Options struct {
	// TranslationStrategy is how names become those of Prometheus. Default
	// UnderscoreEscapingWithSuffixes.
	TranslationStrategy otlptranslator.TranslationStrategyOption
	// PromoteResourceAttributes are copied from the resource to each series, as
	// labels. Default none.
	PromoteResourceAttributes []string
	// PromoteAllResourceAttributes copies all of them, except for those in
	// IgnoreResourceAttributes; it excludes PromoteResourceAttributes.
	PromoteAllResourceAttributes bool
	// IgnoreResourceAttributes needs PromoteAllResourceAttributes.
	IgnoreResourceAttributes []string
	// KeepIdentifyingResourceAttributes keeps service.name, service.namespace
	// and service.instance.id on target_info, beside job and instance.
	KeepIdentifyingResourceAttributes bool
	// DropTargetInfo makes no target_info of the resources; Thanos Receive's
	// --no-receive.otlp-enable-target-info.
	DropTargetInfo bool
	// ConvertHistogramsToNHCB stores explicit-bucket histograms as native
	// histograms with custom buckets, and not as _bucket, _sum and _count.
	ConvertHistogramsToNHCB bool
	// PromoteScopeMetadata copies the scope's name, version, schema URL and
	// attributes to each series as labels with the prefix otel_scope_.
	PromoteScopeMetadata bool
	// KeepLeadingUnderscore turns label_name_underscore_sanitization off: a
	// label that starts with one underscore does not get the prefix key.
	KeepLeadingUnderscore bool
	// CollapseUnderscores turns label_name_preserve_multiple_underscores off:
	// several underscores in the name of a label become one.
	CollapseUnderscores bool
	// TypeAndUnitLabels adds the labels __type__ and __unit__; Prometheus'
	// feature type-and-unit-labels.
	TypeAndUnitLabels bool
	// LookbackDelta is that of the queries, and twice the distance of the
	// samples of target_info. Default 5 minutes.
	LookbackDelta time.Duration

	// Delta is what becomes of delta temporality. Default DeltaRefused.
	Delta Delta
	// MaxDeltaStreams bounds how many streams DeltaCumulative remembers, over
	// all tenants; points of further ones are refused as retryable until there
	// is room. A stream takes about 300 bytes, and 8 for each bucket. Default
	// 100,000.
	MaxDeltaStreams int
	// DeltaMaxStale is after how long without a point a stream is forgotten;
	// the next point starts it anew. Default 5 minutes, as in Prometheus.
	DeltaMaxStale time.Duration

	// Registerer gets the metrics of translation; nil means none. The requests
	// and samples are counted by the receive.Handler.
	Registerer prometheus.Registerer
}

func (o Options) withDefaults() Options {
	if o.TranslationStrategy == "" {
		o.TranslationStrategy = otlptranslator.UnderscoreEscapingWithSuffixes
	}
	if o.LookbackDelta == 0 {
		o.LookbackDelta = 5 * time.Minute
	}
	if o.MaxDeltaStreams == 0 {
		o.MaxDeltaStreams = 100_000
	}
	if o.DeltaMaxStale == 0 {
		o.DeltaMaxStale = 5 * time.Minute
	}
	return o
}

// Validate returns all that is wrong with the options, each by its field's
// name, or nil. Zero values are fine.
func (o Options) Validate() error {
	o = o.withDefaults()
	var errs []error
	bad := func(field, format string, args ...any) {
		errs = append(errs, fmt.Errorf(field+": "+format, args...))
	}
	switch o.TranslationStrategy {
	case otlptranslator.UnderscoreEscapingWithSuffixes, otlptranslator.UnderscoreEscapingWithoutSuffixes,
		otlptranslator.NoUTF8EscapingWithSuffixes, otlptranslator.NoTranslation:
	default:
		bad("TranslationStrategy", "%q is none of those of Prometheus", o.TranslationStrategy)
	}
	if o.PromoteAllResourceAttributes && len(o.PromoteResourceAttributes) > 0 {
		bad("PromoteResourceAttributes", "has no meaning with PromoteAllResourceAttributes")
	}
	if !o.PromoteAllResourceAttributes && len(o.IgnoreResourceAttributes) > 0 {
		bad("IgnoreResourceAttributes", "has no meaning without PromoteAllResourceAttributes")
	}
	if blank(o.PromoteResourceAttributes) {
		bad("PromoteResourceAttributes", "an attribute has an empty name")
	}
	if blank(o.IgnoreResourceAttributes) {
		bad("IgnoreResourceAttributes", "an attribute has an empty name")
	}
	if o.LookbackDelta < time.Millisecond {
		bad("LookbackDelta", "%v is less than a millisecond", o.LookbackDelta)
	}
	if o.Delta > DeltaCumulative {
		bad("Delta", "%d is none of the ways to treat delta temporality", o.Delta)
	}
	if o.MaxDeltaStreams < 0 {
		bad("MaxDeltaStreams", "%d is negative", o.MaxDeltaStreams)
	}
	if o.DeltaMaxStale < 0 {
		bad("DeltaMaxStale", "%v is negative", o.DeltaMaxStale)
	}
	return errors.Join(errs...)
}

func blank(names []string) bool {
	return slices.ContainsFunc(names, func(s string) bool { return strings.TrimSpace(s) == "" })
}

// settings are the options as the translator takes them.
func (o Options) settings() prometheusremotewrite.Settings {
	return prometheusremotewrite.Settings{
		AddMetricSuffixes: o.TranslationStrategy.ShouldAddSuffixes(),
		AllowUTF8:         !o.TranslationStrategy.ShouldEscape(),
		PromoteResourceAttributes: prometheusremotewrite.NewPromoteResourceAttributes(config.OTLPConfig{
			PromoteAllResourceAttributes: o.PromoteAllResourceAttributes,
			PromoteResourceAttributes:    o.PromoteResourceAttributes,
			IgnoreResourceAttributes:     o.IgnoreResourceAttributes,
		}),
		KeepIdentifyingResourceAttributes:    o.KeepIdentifyingResourceAttributes,
		DisableTargetInfo:                    o.DropTargetInfo,
		ConvertHistogramsToNHCB:              o.ConvertHistogramsToNHCB,
		PromoteScopeMetadata:                 o.PromoteScopeMetadata,
		AllowDeltaTemporality:                o.Delta == DeltaNative,
		LookbackDelta:                        o.LookbackDelta,
		EnableTypeAndUnitLabels:              o.TypeAndUnitLabels,
		LabelNameUnderscoreSanitization:      !o.KeepLeadingUnderscore,
		LabelNamePreserveMultipleUnderscores: !o.CollapseUnderscores,
	}
}

// promotes reports whether a resource attribute becomes a label of each series.
func (o Options) promotes(name string) bool {
	if o.PromoteAllResourceAttributes {
		return !slices.Contains(o.IgnoreResourceAttributes, name)
	}
	return slices.Contains(o.PromoteResourceAttributes, name)
}
