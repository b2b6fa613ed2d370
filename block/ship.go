package block

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/labels"
	"golang.org/x/sync/errgroup"

	"github.com/varve-tsdb/varve/internal/every"
	"github.com/varve-tsdb/varve/objstore"
)

// ShipperOptions of NewShipper. The zero value is the default.
type ShipperOptions struct {
	// Interval between the passes of Run. 0 means 30 s.
	Interval time.Duration
	// Concurrency is how many directories are shipped side by side, one block
	// each. 0 means 4.
	Concurrency int
	// UploadConcurrency is how many chunk segments of one block go up side by
	// side. 0 means 4.
	UploadConcurrency int
	// UploadTimeout is how long the upload of one block may take in one pass,
	// so that a bucket that hangs without an error holds back one block for
	// that long and not the rest for ever. Files that got into the bucket
	// stay, and the next pass goes on from there: so it is enough if each
	// single file gets through in the time. 0 means 15 min, which is enough
	// for the largest segment (512 MiB) at 5 Mbit/s.
	UploadTimeout time.Duration
	// MetaSource becomes thanos.source in meta.json; see SourceReceive and its
	// siblings. Empty means SourceReceive.
	MetaSource string
	// UploadCompacted ships blocks of every compaction level. Without it only
	// level 1 is shipped, as the bucket has a compactor of its own. Set it
	// where Prometheus compacts blocks before they are shipped. Such blocks
	// may overlap others in the bucket; readers of this module hide the ones
	// that are covered, but a Thanos compactor may stop at them.
	UploadCompacted bool
	// Index is told of each block that is in the bucket, so that readers see it
	// at once. It is run by who gave it. nil means one of the Shipper's own,
	// with the defaults, which Run runs too.
	Index *BucketIndex
	// NoIndex leaves the index of the bucket alone.
	NoIndex bool
	// Logger gets a line for each block that was shipped and for each failure
	// of a pass of Run. nil is silent.
	Logger *slog.Logger
	// Registerer gets the metrics varve_block_shipper_*, and varve_block_index_*
	// for an index of the Shipper's own. nil is fine. For
	// several Shippers with one registry wrap it for each with
	// prometheus.WrapRegistererWith, with another value of the same label.
	Registerer prometheus.Registerer
}

// Validate reports all problems at once.
func (o ShipperOptions) Validate() error {
	var errs []error
	if o.Interval < 0 {
		errs = append(errs, fmt.Errorf("ShipperOptions.Interval is %s, want 0 or more", o.Interval))
	}
	if o.Concurrency < 0 {
		errs = append(errs, fmt.Errorf("ShipperOptions.Concurrency is %d, want 0 or more", o.Concurrency))
	}
	if o.UploadConcurrency < 0 {
		errs = append(errs, fmt.Errorf("ShipperOptions.UploadConcurrency is %d, want 0 or more", o.UploadConcurrency))
	}
	if o.UploadTimeout < 0 {
		errs = append(errs, fmt.Errorf("ShipperOptions.UploadTimeout is %s, want 0 or more", o.UploadTimeout))
	}
	if o.NoIndex && o.Index != nil {
		errs = append(errs, errors.New("ShipperOptions.NoIndex is set beside Index, want one of them"))
	}
	return errors.Join(errs...)
}

func (o ShipperOptions) withDefaults() ShipperOptions {
	if o.Interval == 0 {
		o.Interval = 30 * time.Second
	}
	if o.Concurrency == 0 {
		o.Concurrency = 4
	}
	if o.UploadTimeout == 0 {
		o.UploadTimeout = 15 * time.Minute
	}
	if o.MetaSource == "" {
		o.MetaSource = SourceReceive
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// Shipper uploads finished local blocks, each once. Its methods may be called
// concurrently; passes wait for each other.
type Shipper struct {
	bkt      objstore.Bucket
	src      Source
	opts     ShipperOptions
	metrics  *shipperMetrics
	progress *progress
	index    *BucketIndex // nil for none
	ownIndex bool

	pass turn // held during a pass
}

// NewShipper returns a Shipper of the blocks of src into bkt. It starts
// nothing: call Run, or Ship for a single pass.
func NewShipper(bkt objstore.Bucket, src Source, opts ShipperOptions) (*Shipper, error) {
	if err := opts.Validate(); err != nil {
		return nil, err
	}
	s := &Shipper{
		bkt: bkt, src: src, opts: opts.withDefaults(),
		progress: &progress{dirs: map[string]Pending{}}, pass: newTurn(),
	}
	var err error
	if s.metrics, err = newShipperMetrics(opts.Registerer, s.progress); err != nil {
		return nil, err
	}
	if s.index, s.ownIndex, err = newShipperIndex(bkt, s.opts); err != nil {
		s.metrics.registered.UnregisterAll()
		return nil, err
	}
	return s, nil
}

// Run calls Ship at once and then at each interval until ctx is done, and
// returns nil. Failures are logged and counted, and tried again at the next
// interval. After Run a last Ship takes what was cut since. An index of the
// Shipper's own is kept meanwhile.
func (s *Shipper) Run(ctx context.Context) error {
	var g errgroup.Group
	if s.ownIndex {
		g.Go(func() error { return s.index.Run(ctx) })
	}
	g.Go(func() error { return s.run(ctx) })
	return g.Wait()
}

func (s *Shipper) run(ctx context.Context) error {
	return every.Run(ctx, s.opts.Interval, s.Ship, func(err error) {
		s.opts.Logger.Error("could not ship all blocks, trying again", "interval", s.opts.Interval, "err", err)
	})
}

// Pending tells what is still to be uploaded, as of the last pass that looked
// at each directory.
func (s *Shipper) Pending() Pending { return s.progress.pending() }

// Ship makes one pass over all directories of the Source. Blocks of one
// directory are shipped in the order of their time. A directory that fails
// does not hold back the others; the error joins all failures, each naming its
// directory and block.
func (s *Shipper) Ship(ctx context.Context) error {
	if err := s.pass.take(ctx); err != nil {
		return err
	}
	defer s.pass.give()
	err := s.ship(ctx)
	s.tellIndex(ctx)
	s.metrics.pass(err)
	return err
}

// shipDir is one directory of a pass.
type shipDir struct {
	dir      string
	external labels.Labels
}

func (s *Shipper) ship(ctx context.Context) error {
	dirs := s.dirs()
	s.progress.keep(dirs)
	errs := make([]error, len(dirs))
	var g errgroup.Group
	g.SetLimit(s.opts.Concurrency)
	for i, d := range dirs {
		g.Go(func() error {
			if errs[i] = ctx.Err(); errs[i] == nil {
				errs[i] = s.shipDir(ctx, d)
			}
			return nil
		})
	}
	_ = g.Wait() // no function of the group fails
	if err := ctx.Err(); err != nil {
		return err
	}
	return errors.Join(errs...)
}

// dirs lists the directories of the Source, each once.
func (s *Shipper) dirs() []shipDir {
	var dirs []shipDir
	seen := map[string]bool{}
	s.src.BlockDirs(func(dir string, external labels.Labels) bool {
		dir = filepath.Clean(dir)
		if !seen[dir] {
			seen[dir] = true
			dirs = append(dirs, shipDir{dir: dir, external: external})
		}
		return true
	})
	return dirs
}
