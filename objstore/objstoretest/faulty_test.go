package objstoretest_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/varve-tsdb/varve/objstore"
	"github.com/varve-tsdb/varve/objstore/objstoretest"
)

var errBroken = errors.New("broken")

func get(ctx context.Context, b objstore.Bucket, name string) (string, error) {
	rc, err := b.Get(ctx, name)
	if err != nil {
		return "", err
	}
	content, err := io.ReadAll(rc)
	return string(content), errors.Join(err, rc.Close())
}

func put(ctx context.Context, b objstore.Bucket, name, content string) error {
	return b.Upload(ctx, name, strings.NewReader(content))
}

func TestFaults(t *testing.T) {
	for name, c := range map[string]struct {
		fault    objstoretest.Fault
		get      string // of "0123456789"
		getErr   error
		stored   string // of an upload of "abcdef", "" for none
		storeErr error
	}{
		"fail":             {objstoretest.Fail(errBroken), "", errBroken, "", errBroken},
		"lose":             {objstoretest.Lose(errBroken), "", errBroken, "abcdef", errBroken},
		"truncate":         {objstoretest.Truncate(3), "012", nil, "abc", nil},
		"truncate nothing": {objstoretest.Truncate(100), "0123456789", nil, "abcdef", nil},
		"break":            {objstoretest.Break(3, errBroken), "012", errBroken, "", errBroken},
		"flip":             {objstoretest.Flip(2), "0133456789", nil, "abbdef", nil},
		"flip beyond":      {objstoretest.Flip(50), "0123456789", nil, "abcdef", nil},
	} {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			memory := objstoretest.NewMemory()
			memory.Put("object", []byte("0123456789"))
			b := objstoretest.NewFaulty(memory)
			b.Set(objstoretest.Rule{Fault: c.fault})
			if got, err := get(ctx, b, "object"); got != c.get || !errors.Is(err, c.getErr) || (err == nil) != (c.getErr == nil) {
				t.Errorf("Get: %q, %v", got, err)
			}
			if err := put(ctx, b, "new", "abcdef"); !errors.Is(err, c.storeErr) || (err == nil) != (c.storeErr == nil) {
				t.Errorf("Upload: %v", err)
			}
			if got := string(memory.Objects()["new"]); got != c.stored {
				t.Errorf("stored %q, want %q", got, c.stored)
			}
			if b.Struck() != 2 {
				t.Errorf("%d faults struck, want 2", b.Struck())
			}
			b.Set()
			if got, err := get(ctx, b, "object"); got != "0123456789" || err != nil {
				t.Errorf("Get from the healed bucket: %q, %v", got, err)
			}
		})
	}
}

func TestTruncatedBodyAnnouncesItsSize(t *testing.T) {
	memory := objstoretest.NewMemory()
	memory.Put("object", []byte("0123456789"))
	b := objstoretest.NewFaulty(memory)
	b.Set(objstoretest.Rule{Fault: objstoretest.Truncate(3)})
	rc, err := b.Get(t.Context(), "object")
	if err != nil {
		t.Fatal(err)
	}
	defer rc.Close()
	if n, err := objstore.ObjectSize(rc); n != 10 || err != nil {
		t.Errorf("the body announces %d, %v; want 10", n, err)
	}
}

func TestRules(t *testing.T) {
	ctx := t.Context()
	other := errors.New("other")
	b := objstoretest.NewFaulty(objstoretest.NewMemory())
	b.Set(
		objstoretest.Rule{Op: objstore.OpUpload, Name: "meta.json", Skip: 1, Times: 2, Fault: objstoretest.Fail(errBroken)},
		objstoretest.Rule{Name: "index", Match: func(op, name string) bool { return strings.HasPrefix(name, "02") }, Fault: objstoretest.Fail(other)},
	)
	for i, c := range []struct {
		name string
		want error
	}{
		{"01/meta.json", nil},
		{"01/index", nil},
		{"02/meta.json", errBroken},
		{"02/index", other},
		{"03/meta.json", errBroken},
		{"04/meta.json", nil},
		{"02/index", other},
	} {
		if err := put(ctx, b, c.name, "x"); !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
			t.Errorf("upload %d of %s: %v, want %v", i, c.name, err, c.want)
		}
	}
	if _, err := b.Exists(ctx, "01/meta.json"); err != nil {
		t.Errorf("a rule for uploads struck another operation: %v", err)
	}
}

func TestStallHoldDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := objstoretest.NewFaulty(objstoretest.NewMemory())
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()

		b.Set(objstoretest.Rule{Fault: objstoretest.Stall()})
		began := time.Now()
		if err := put(ctx, b, "object", "x"); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Hour {
			t.Errorf("stalled upload: %v after %v", err, time.Since(began))
		}

		b.Set(objstoretest.Rule{Fault: objstoretest.Delay(time.Minute)})
		began = time.Now()
		if err := put(t.Context(), b, "object", "x"); err != nil || time.Since(began) != time.Minute {
			t.Errorf("delayed upload: %v after %v", err, time.Since(began))
		}

		gate := make(chan struct{})
		b.Set(objstoretest.Rule{Fault: objstoretest.Hold(gate)})
		done := make(chan error)
		go func() { done <- put(t.Context(), b, "object", "x") }()
		synctest.Wait()
		select {
		case err := <-done:
			t.Fatalf("held upload ended: %v", err)
		default:
		}
		close(gate)
		if err := <-done; err != nil {
			t.Errorf("upload after the hold: %v", err)
		}
	})
}
