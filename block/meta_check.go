package block

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/oklog/ulid/v2"
)

// Validate checks what every reader relies on. It reports all problems at
// once, as an ErrMetaInvalid.
func (m *Meta) Validate() error {
	var errs []error
	if m.Version != Version1 {
		errs = append(errs, fmt.Errorf("version is %d, want %d", m.Version, Version1))
	}
	if m.ULID == (ulid.ULID{}) {
		errs = append(errs, errors.New("ulid is missing"))
	}
	if m.MinTime >= m.MaxTime {
		errs = append(errs, fmt.Errorf("minTime %d is not before maxTime %d", m.MinTime, m.MaxTime))
	}
	if v := m.Thanos.Version; v != 0 && v != Version1 {
		errs = append(errs, fmt.Errorf("thanos.version is %d, want %d or none", v, Version1))
	}
	if r := m.Thanos.Downsample.Resolution; r < 0 || r > math.MaxInt64/int64(time.Millisecond) {
		errs = append(errs, fmt.Errorf("thanos.downsample.resolution %d ms is out of range", r))
	}
	for _, f := range m.Thanos.Files {
		if f.SizeBytes < 0 {
			errs = append(errs, fmt.Errorf("thanos.files: size of %q is %d", f.RelPath, f.SizeBytes))
		}
	}
	return m.invalid(errs)
}

// ValidateUpload checks, beyond Validate, what a block must have before it may
// get into a bucket: external labels, each with a name and a value. Their
// absence is an ErrNoExternalLabels.
func (m *Meta) ValidateUpload() error {
	if len(m.Thanos.Labels) == 0 {
		return blockError(m.ULID, ErrNoExternalLabels)
	}
	var errs []error
	for name, value := range m.Thanos.Labels {
		if name == "" || value == "" || !utf8.ValidString(name) || !utf8.ValidString(value) {
			errs = append(errs, fmt.Errorf("thanos.labels: %q=%q: name and value must be non-empty UTF-8", name, value))
		}
	}
	if m.Compaction.Level < 1 {
		errs = append(errs, fmt.Errorf("compaction.level is %d, want 1 or more", m.Compaction.Level))
	}
	if len(m.Compaction.Sources) == 0 {
		errs = append(errs, errors.New("compaction.sources is empty"))
	}
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(m.Validate(), m.invalid(errs))
}

// checkID compares the ULID in meta.json with that of the directory it is in.
func (m *Meta) checkID(want ulid.ULID) error {
	if m.ULID == want {
		return nil
	}
	return m.invalid([]error{fmt.Errorf("ulid is %s, but the directory is %s", m.ULID, want)})
}

func (m *Meta) invalid(errs []error) error {
	if len(errs) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrMetaInvalid, errors.Join(errs...))
}
