package receive

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"net/url"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxLimitsBytes bounds a limits file: enough for ten thousand tenants.
const maxLimitsBytes = 8 << 20

// ErrInvalidLimits is in every error about the text of limits.
var ErrInvalidLimits = errors.New("invalid limits")

// limitsYAML is the form of the file. It is that of Thanos Receive, v0.42, and
// more keys below the same ones.
type limitsYAML struct {
	Write struct {
		Global  limitsGlobalYAML             `yaml:"global"`
		Default limitsTenantYAML             `yaml:"default"`
		Tenants map[string]*limitsTenantYAML `yaml:"tenants"`
	} `yaml:"write"`
}

type limitsGlobalYAML struct {
	MaxConcurrency   *wholeNumber `yaml:"max_concurrency"`
	InFlightBytes    *wholeNumber `yaml:"in_flight_bytes_limit"`
	InFlightRequests *wholeNumber `yaml:"in_flight_requests_limit"`

	MetaMonitoringURL        string `yaml:"meta_monitoring_url"`
	MetaMonitoringQuery      string `yaml:"meta_monitoring_limit_query"`
	MetaMonitoringHTTPClient any    `yaml:"meta_monitoring_http_client"`
}

type limitsTenantYAML struct {
	Request struct {
		SizeBytes    *wholeNumber `yaml:"size_bytes_limit"`
		DecodedBytes *wholeNumber `yaml:"decoded_bytes_limit"`
		Series       *wholeNumber `yaml:"series_limit"`
		Samples      *wholeNumber `yaml:"samples_limit"`
	} `yaml:"request"`
	Labels struct {
		Count      *wholeNumber `yaml:"count_limit"`
		NameBytes  *wholeNumber `yaml:"name_bytes_limit"`
		ValueBytes *wholeNumber `yaml:"value_bytes_limit"`
	} `yaml:"labels"`
	HeadSeries       *wholeNumber `yaml:"head_series_limit"`
	SamplesPerSecond *float64     `yaml:"samples_per_second_limit"`
	SamplesBurst     *float64     `yaml:"samples_burst"`
	InFlightRequests *wholeNumber `yaml:"in_flight_requests_limit"`
}

// wholeNumber is a number that must not be rounded: half a sample would become
// none, which is no limit.
type wholeNumber int64

func (n *wholeNumber) UnmarshalYAML(node *yaml.Node) error {
	var f float64
	if err := node.Decode(&f); err != nil {
		return err
	}
	const most = 1 << 53 // Beyond, float64 has gaps.
	if f != math.Trunc(f) || math.Abs(f) > most {
		return fmt.Errorf("line %d: %s is not a whole number that can be a limit", node.Line, node.Value)
	}
	*n = wholeNumber(f)
	return nil
}

// ParseLimits reads limits from YAML in the form of Thanos Receive's
// --receive.limits-config-file, with keys of our own beside its. All are
// optional.
//
//	write:
//	  global:
//	    max_concurrency: 8                # GlobalLimits.Concurrency; 0 is none
//	    in_flight_bytes_limit: 268435456  # ours; 0 is none
//	    in_flight_requests_limit: 2000    # ours; 0 is none
//	  default:
//	    request:
//	      size_bytes_limit: 0             # Limits.RequestBytes and DecodedBytes, as in Thanos
//	      decoded_bytes_limit: 0          # ours; Limits.DecodedBytes apart
//	      series_limit: 0
//	      samples_limit: 0                # histograms are counted, other than in Thanos
//	    labels:                           # ours
//	      count_limit: 0
//	      name_bytes_limit: 0
//	      value_bytes_limit: 0
//	    head_series_limit: 0              # Limits.ActiveSeries
//	    samples_per_second_limit: 0       # ours
//	    samples_burst: 0                  # ours
//	    in_flight_requests_limit: 0       # ours
//	  tenants:
//	    TENANT: {}                        # as default; what is left out is default's
//
// The keys meta_monitoring_url, meta_monitoring_limit_query and
// meta_monitoring_http_client below global are read and have no effect: the
// series of a tenant are counted where they are.
//
// An empty text is no limits but the defaults of GlobalLimits. An error, in
// which errors.Is finds ErrInvalidLimits, names the line and the key, as for one
// that is not known.
func ParseLimits(text []byte) (*LimitSet, error) {
	if len(text) > maxLimitsBytes {
		return nil, fmt.Errorf("%w: the text is longer than %d bytes", ErrInvalidLimits, maxLimitsBytes)
	}
	var in limitsYAML
	dec := yaml.NewDecoder(bytes.NewReader(text))
	dec.KnownFields(true)
	if err := dec.Decode(&in); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: %s", ErrInvalidLimits, plainYAMLError(err))
	}
	if err := dec.Decode(new(any)); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: there is more than one document; leave one", ErrInvalidLimits)
	}
	set := &LimitSet{Tenants: map[string]Limits{}}
	errs := []error{in.Write.Global.into(set), in.Write.Default.over(Limits{}, "write.default", &set.Default)}
	for tenant, over := range in.Write.Tenants {
		path := "write.tenants." + tenant
		if err := ValidateTenant(tenant); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", path, err))
		}
		if over == nil {
			over = &limitsTenantYAML{}
		}
		var own Limits
		errs = append(errs, over.over(set.Default, path, &own))
		set.Tenants[tenant] = own
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalidLimits, err)
	}
	return set, nil
}

// unknownYAMLKey is what the library says of a key it has no place for, with
// the name of a type that nobody who writes the file has heard of.
var unknownYAMLKey = regexp.MustCompile(`field (.*) not found in type .+`)

// misplacedYAML is what it says of a value of another kind than expected.
var misplacedYAML = regexp.MustCompile(`cannot unmarshal (.*) into .+`)

func plainYAMLError(err error) string {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	text = misplacedYAML.ReplaceAllString(text, "$1 is not what belongs there")
	return unknownYAMLKey.ReplaceAllString(text, "the key $1 is not known here: mind its spelling and indentation, or leave it out")
}

// into puts the limits of the process into set.
func (y *limitsGlobalYAML) into(set *LimitSet) error {
	setGlobal(&set.Global.Concurrency, y.MaxConcurrency)
	setGlobal(&set.Global.InFlightBytes, y.InFlightBytes)
	setGlobal(&set.Global.InFlightRequests, y.InFlightRequests)
	if y.MetaMonitoringURL != "" {
		set.unused = append(set.unused, "write.global.meta_monitoring_url")
		if u, err := url.Parse(y.MetaMonitoringURL); err != nil || u.Scheme == "" || u.Host == "" {
			return fmt.Errorf("write.global.meta_monitoring_url: %q is not a URL; it is not needed either: leave it out", y.MetaMonitoringURL)
		}
	}
	if y.MetaMonitoringQuery != "" {
		set.unused = append(set.unused, "write.global.meta_monitoring_limit_query")
	}
	if y.MetaMonitoringHTTPClient != nil {
		set.unused = append(set.unused, "write.global.meta_monitoring_http_client")
	}
	return nil
}

// setGlobal sets a limit for which 0 is none in the file, and the default in Go.
func setGlobal[T int | int64](to *T, from *wholeNumber) {
	switch {
	case from == nil:
	case *from <= 0:
		*to = -1
	default:
		*to = T(*from)
	}
}

// over puts the limits into out, those that are left out from base.
func (y *limitsTenantYAML) over(base Limits, path string, out *Limits) error {
	*out = base
	setLimit(&out.RequestBytes, y.Request.SizeBytes)
	setLimit(&out.DecodedBytes, y.Request.SizeBytes)
	setLimit(&out.DecodedBytes, y.Request.DecodedBytes)
	setLimit(&out.RequestSeries, y.Request.Series)
	setLimit(&out.RequestSamples, y.Request.Samples)
	setLimit(&out.LabelCount, y.Labels.Count)
	setLimit(&out.LabelNameBytes, y.Labels.NameBytes)
	setLimit(&out.LabelValueBytes, y.Labels.ValueBytes)
	setLimit(&out.ActiveSeries, y.HeadSeries)
	setLimit(&out.SamplesPerSecond, y.SamplesPerSecond)
	setLimit(&out.SamplesBurst, y.SamplesBurst)
	setLimit(&out.InFlightRequests, y.InFlightRequests)
	var errs []error
	for key, v := range map[string]float64{"samples_per_second_limit": out.SamplesPerSecond, "samples_burst": out.SamplesBurst} {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			errs = append(errs, fmt.Errorf("%s.%s: %v is not a number of samples; 0 is no limit", path, key, v))
		}
	}
	return errors.Join(errs...)
}

func setLimit[T, F int | int64 | float64 | wholeNumber](to *T, from *F) {
	if from != nil {
		*to = T(*from)
	}
}
