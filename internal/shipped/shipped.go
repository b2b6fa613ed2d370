package shipped

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/oklog/ulid/v2"
)

// Filename is the name of the file below the directory of the blocks.
const Filename = "thanos.shipper.json"

const version = 1

// ErrInvalid is a file that was read and cannot be used.
var ErrInvalid = errors.New("invalid list of shipped blocks")

type fileJSON struct {
	Version  int         `json:"version"`
	Uploaded []ulid.ULID `json:"uploaded"`
}

// Read returns the blocks of dir that are shipped: nil if there is no file, and
// never nil if there is one. An error names the file; it is an ErrInvalid
// unless the file could not even be read.
func Read(dir string) (map[ulid.ULID]bool, error) {
	file := filepath.Join(dir, Filename)
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var j fileJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return nil, fmt.Errorf("%s: %w: %w", file, ErrInvalid, err)
	}
	if j.Version != version {
		return nil, fmt.Errorf("%s: %w: version %d is not known, only %d is", file, ErrInvalid, j.Version, version)
	}
	done := make(map[ulid.ULID]bool, len(j.Uploaded))
	for _, id := range j.Uploaded {
		done[id] = true
	}
	return done, nil
}

// Encode returns the content of the file, sorted.
func Encode(done map[ulid.ULID]bool) ([]byte, error) {
	j := fileJSON{Version: version, Uploaded: slices.SortedFunc(maps.Keys(done), ulid.ULID.Compare)}
	if j.Uploaded == nil {
		j.Uploaded = []ulid.ULID{}
	}
	return json.MarshalIndent(j, "", "\t")
}
