package cli

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
)

// tenantLabel is what the library calls the label that it adds to every series.
const tenantLabel = "tenant_id"

// Labels is a repeatable flag of the form name="value". The quotes may be left
// out.
type Labels struct{ labels.Labels }

// Set adds one label.
func (l *Labels) Set(text string) error {
	name, value, ok := strings.Cut(text, "=")
	if !ok || !model.UTF8Validation.IsValidLabelName(name) || name == model.MetricNameLabel {
		return fmt.Errorf(`%q is not of the form name="value"`, text)
	}
	if strings.HasPrefix(value, `"`) {
		unquoted, err := strconv.Unquote(value)
		if err != nil {
			return fmt.Errorf("the value of %q is not a quoted string", text)
		}
		value = unquoted
	}
	if !utf8.ValidString(value) {
		return fmt.Errorf("the value of %q is not valid UTF-8", text)
	}
	if value == "" {
		return fmt.Errorf("the label %s has no value", name)
	}
	if name == tenantLabel {
		return fmt.Errorf("the label %s carries the tenant's name, which each request says itself: choose another name", name)
	}
	if l.Has(name) {
		return fmt.Errorf("the label %s is given twice", name)
	}
	l.Labels = labels.NewBuilder(l.Labels).Set(name, value).Labels()
	return nil
}

// Folder is a flag that names a folder, which nothing does not: joined with
// what is below it, it would be the working directory.
type Folder string

func (f *Folder) String() string { return string(*f) }

// Set takes a name that is not empty.
func (f *Folder) Set(text string) error {
	if text == "" {
		return errors.New("it has to name a folder; . is the working directory")
	}
	*f = Folder(text)
	return nil
}

// Join returns a path below the folder.
func (f *Folder) Join(name string) string { return filepath.Join(string(*f), name) }

// Strings is a repeatable flag of texts that are not empty.
type Strings []string

func (s *Strings) String() string { return strings.Join(*s, ",") }

// Set adds one value.
func (s *Strings) Set(text string) error {
	if text == "" {
		return errors.New("it is empty: leave the flag out instead")
	}
	*s = append(*s, text)
	return nil
}

// Duration is a flag in Prometheus' notation, such as 15d, 2h or 90s.
type Duration time.Duration

func (d *Duration) String() string { return model.Duration(*d).String() }

// Set parses a duration.
func (d *Duration) Set(text string) error {
	parsed, err := model.ParseDuration(text)
	if err != nil {
		return err
	}
	*d = Duration(parsed)
	return nil
}

// BlockDuration is a Duration of at least a second.
type BlockDuration time.Duration

func (d *BlockDuration) String() string { return model.Duration(*d).String() }

// Set parses a duration and refuses one that is too short for a block.
func (d *BlockDuration) Set(text string) error {
	var parsed Duration
	if err := parsed.Set(text); err != nil {
		return err
	}
	if time.Duration(parsed) < time.Second {
		return errors.New("it is shorter than 1s, the least that a block may span")
	}
	*d = BlockDuration(parsed)
	return nil
}

// Logger returns a logger to standard error from a level on: debug, info, warn
// or error.
func Logger(level string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("--log.level is %q, must be debug, info, warn or error", level)
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: l})), nil
}

// OrForever returns the duration of a retention flag, where zero means to keep
// for ever, in the library's notation, where negative does.
func (d Duration) OrForever() time.Duration {
	if d == 0 {
		return -1
	}
	return time.Duration(d)
}
