package objstoretest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/varve-tsdb/varve/objstore"
)

// TestBucket checks that a Bucket keeps the contract of package objstore. open
// returns an empty bucket each time it is called, and arranges with t.Cleanup
// for what is left of it.
//
// Where providers differ (deleting what does not exist, a range that starts
// beyond the end, the order of objects among directories) the suite accepts
// every behaviour that the contract names.
func TestBucket(t *testing.T, open func(t *testing.T) objstore.Bucket) {
	for _, c := range []struct {
		name string
		test func(t *testing.T, s suite)
	}{
		{"missing objects", testMissing},
		{"contents", testContents},
		{"overwrite", testOverwrite},
		{"ranges", testRanges},
		{"sizes", testSizes},
		{"bad requests", testBadRequests},
		{"delete", testDelete},
		{"names", testNames},
		{"wrapped errors", testWrappedErrors},
		{"list", testList},
		{"list attributes", testListAttributes},
		{"list ends early", testListEndsEarly},
		{"list many", testListMany},
		{"use while listing", testUseWhileListing},
		{"directories are no objects", testDirectories},
		{"failed upload", testFailedUpload},
		{"canceled", testCanceled},
		{"concurrent uploads", testConcurrentUploads},
		{"concurrent use", testConcurrentUse},
		{"identity", testIdentity},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.test(t, suite{Bucket: open(t), ctx: context.Background()})
		})
	}
}

// suite is a bucket with the checks that many tests share.
type suite struct {
	objstore.Bucket
	ctx context.Context
}

func (s suite) put(t *testing.T, name, content string) {
	t.Helper()
	if err := s.Upload(s.ctx, name, reader(content)); err != nil {
		t.Fatalf("Upload of %q: %v", name, err)
	}
}

func (s suite) wantContent(t *testing.T, name, want string) {
	t.Helper()
	got, err := readAll(s.Get(s.ctx, name))
	if err != nil {
		t.Fatalf("Get of %q: %v", name, err)
	}
	if got != want {
		t.Fatalf("Get of %q gave %s, want %s", name, brief(got), brief(want))
	}
}

func (s suite) wantMissing(t *testing.T, name string) {
	t.Helper()
	if ok, err := s.Exists(s.ctx, name); ok || err != nil {
		t.Errorf("Exists of missing %q: %v, %v; want false and no error", name, ok, err)
	}
	_, get := readAll(s.Get(s.ctx, name))
	_, getRange := readAll(s.GetRange(s.ctx, name, 1, 2))
	_, attributes := s.Attributes(s.ctx, name)
	for op, err := range map[string]error{"Get": get, "GetRange": getRange, "Attributes": attributes} {
		if err == nil || !s.IsObjNotFoundErr(err) {
			t.Errorf("%s of missing %q: %v; want an error that is IsObjNotFoundErr", op, name, err)
		}
		if s.IsAccessDeniedErr(err) {
			t.Errorf("%s of missing %q: %v; IsAccessDeniedErr holds", op, name, err)
		}
	}
}

func (s suite) list(t *testing.T, dir string, options ...objstore.IterOption) []string {
	t.Helper()
	var names []string
	err := s.Iter(s.ctx, dir, func(name string) error {
		names = append(names, name)
		return nil
	}, options...)
	if err != nil {
		t.Fatalf("Iter of %q: %v", dir, err)
	}
	return names
}

func readAll(rc io.ReadCloser, err error) (string, error) {
	if err != nil {
		return "", err
	}
	content, err := io.ReadAll(rc)
	return string(content), errors.Join(err, rc.Close())
}

func brief(s string) string {
	if len(s) <= 64 {
		return fmt.Sprintf("%q", s)
	}
	return fmt.Sprintf("%q... (%d bytes)", s[:64], len(s))
}
