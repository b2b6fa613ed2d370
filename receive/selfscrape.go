package receive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/model/textparse"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/storage"

	"github.com/varve-tsdb/varve/internal/every"
)

// SelfScrapeOptions are the settings of a SelfScraper.
type SelfScrapeOptions struct {
	// Interval between scrapes. Zero means 15 seconds.
	Interval time.Duration
	// Tenant that the samples are stored for. Empty means DefaultTenant.
	Tenant string
	// Labels that each series gets, such as job and instance. They win over
	// labels of the same name.
	Labels labels.Labels
	// Logger for failed scrapes. Nil is silent.
	Logger *slog.Logger
}

// Validate reports all problems at once.
func (o SelfScrapeOptions) Validate() error {
	var errs []error
	if o.Interval < 0 {
		errs = append(errs, fmt.Errorf("SelfScrapeOptions.Interval is %v, must not be negative", o.Interval))
	}
	if o.Tenant != "" {
		if err := ValidateTenant(o.Tenant); err != nil {
			errs = append(errs, fmt.Errorf("SelfScrapeOptions.Tenant: %w", err))
		}
	}
	return errors.Join(errs...)
}

// SelfScraper stores the metrics of the program it runs in, without the way
// through HTTP: all samples of a gatherer, native histograms and exemplars
// included, under one timestamp, with an up series beside them and stale
// markers for series that are gone since the last scrape.
//
// Scrape must not be called concurrently with itself or with Run.
type SelfScraper struct {
	from prometheus.Gatherer
	to   Appendable
	opts SelfScrapeOptions
	seen map[string]*scrapedSeries // by the text of the labels as gathered
	pass int
}

// scrapedSeries remembers a series from scrape to scrape, but not its
// reference: that holds within one appender only.
type scrapedSeries struct {
	labels labels.Labels
	pass   int // that last had it
}

// NewSelfScraper returns a SelfScraper that has not started.
func NewSelfScraper(from prometheus.Gatherer, to Appendable, opts SelfScrapeOptions) (*SelfScraper, error) {
	if err := opts.Validate(); err != nil {
		return nil, err
	}
	if opts.Interval == 0 {
		opts.Interval = 15 * time.Second
	}
	if opts.Tenant == "" {
		opts.Tenant = DefaultTenant
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	return &SelfScraper{from: from, to: to, opts: opts, seen: map[string]*scrapedSeries{}}, nil
}

// Run scrapes at once and then at the interval, until ctx is done. A failed
// scrape is logged, and the next one tries again.
func (s *SelfScraper) Run(ctx context.Context) error {
	return every.Run(ctx, s.opts.Interval, s.Scrape, func(err error) {
		s.opts.Logger.Warn("scraping this program's own metrics failed", "err", err)
	})
}

// Scrape stores the metrics as they are now. Neither a collector that fails nor
// a sample that is refused keeps the others from being stored; the error tells
// of them.
func (s *SelfScraper) Scrape(ctx context.Context) error {
	now := time.Now().UnixMilli()
	families, gatherErr := s.from.Gather()
	body, err := encode(families)
	if err != nil {
		return fmt.Errorf("encode own metrics: %w", err)
	}
	app, err := s.to.Appender(ctx, s.opts.Tenant)
	if err != nil {
		return fmt.Errorf("store own metrics: %w", err)
	}
	s.pass++
	refused, err := s.append(app, body, now)
	if err != nil {
		return errors.Join(fmt.Errorf("read own metrics: %w", err), app.Rollback())
	}
	up := scrapedSample{labels: labels.FromStrings(model.MetricNameLabel, "up"), t: now}
	if gatherErr == nil {
		up.v = 1
	}
	refused = errors.Join(refused, s.appendSample(app, up))
	gone := s.endGone(app, now)
	if err := app.Commit(); err != nil {
		return fmt.Errorf("store own metrics: %w", err)
	}
	for _, key := range gone {
		delete(s.seen, key)
	}
	if refused != nil {
		refused = fmt.Errorf("store own metrics: %w", refused)
	}
	return errors.Join(refused, gatherErr)
}

// scrapedSample is one sample of a series that lacks SelfScrapeOptions.Labels.
type scrapedSample struct {
	labels labels.Labels
	st, t  int64
	v      float64
	h      *histogram.Histogram
	fh     *histogram.FloatHistogram
	opts   storage.AppendV2Options
}

// append stores the samples of body, an exposition in delimited protobuf. It
// returns how many were refused, with the first reason, and an error if the
// body cannot be read.
func (s *SelfScraper) append(app storage.AppenderV2, body []byte, now int64) (refused, err error) {
	var first error
	var count int
	defer func() {
		if count > 0 {
			refused = fmt.Errorf("%d samples were refused, the first: %w", count, first)
		}
	}()
	parser := textparse.NewProtobufParser(body, false, false, false, false, labels.NewSymbolTable())
	var meta metadata.Metadata
	var family string
	for {
		entry, err := parser.Next()
		if errors.Is(err, io.EOF) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		switch entry {
		case textparse.EntryHelp:
			_, help := parser.Help()
			meta = metadata.Metadata{Help: string(help)}
		case textparse.EntryType:
			name, kind := parser.Type()
			family, meta.Type = string(name), kind
		case textparse.EntryUnit:
			_, unit := parser.Unit()
			meta.Unit = string(unit)
		case textparse.EntrySeries, textparse.EntryHistogram:
			sample := scrapedSample{
				t: now, st: parser.StartTimestamp(),
				opts: storage.AppendV2Options{MetricFamilyName: family, Metadata: meta, Exemplars: exemplars(parser, now)},
			}
			parser.Labels(&sample.labels)
			if entry == textparse.EntrySeries {
				_, _, sample.v = parser.Series()
			} else {
				_, _, sample.h, sample.fh = parser.Histogram()
			}
			if err := s.appendSample(app, sample); err != nil {
				if count++; count == 1 {
					first = fmt.Errorf("%s: %w", sample.labels, err)
				}
			}
		}
	}
}

func (s *SelfScraper) appendSample(app storage.AppenderV2, sample scrapedSample) error {
	key := sample.labels.String()
	series := s.seen[key]
	if series == nil {
		builder := labels.NewBuilder(sample.labels)
		s.opts.Labels.Range(func(l labels.Label) { builder.Set(l.Name, l.Value) })
		series = &scrapedSeries{labels: builder.Labels()}
		s.seen[key] = series
	}
	series.pass = s.pass
	_, err := app.Append(0, series.labels, sample.st, sample.t, sample.v, sample.h, sample.fh, sample.opts)
	var partial *storage.AppendPartialError
	if errors.As(err, &partial) {
		return nil // only exemplars were left out
	}
	return err
}

// endGone writes a stale marker to each series that this scrape did not have,
// and returns their keys.
func (s *SelfScraper) endGone(app storage.AppenderV2, now int64) (gone []string) {
	for key, series := range s.seen {
		if series.pass == s.pass {
			continue
		}
		gone = append(gone, key)
		// Refused is as good as written: the series has ended either way.
		_, _ = app.Append(0, series.labels, 0, now, math.Float64frombits(value.StaleNaN), nil, nil, storage.AppendV2Options{})
	}
	return gone
}

func exemplars(parser textparse.Parser, now int64) (found []exemplar.Exemplar) {
	var e exemplar.Exemplar
	for parser.Exemplar(&e) {
		if !e.HasTs {
			e.Ts = now
		}
		found = append(found, e)
		e = exemplar.Exemplar{}
	}
	return found
}

// encode puts families into delimited protobuf, the one exposition format that
// carries native histograms.
func encode(families []*dto.MetricFamily) ([]byte, error) {
	var body bytes.Buffer
	enc := expfmt.NewEncoder(&body, expfmt.NewFormat(expfmt.TypeProtoDelim))
	for _, family := range families {
		if err := enc.Encode(family); err != nil {
			return nil, err
		}
	}
	return body.Bytes(), nil
}
