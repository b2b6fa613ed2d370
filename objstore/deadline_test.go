package objstore_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/varve-tsdb/varve/objstore"
	"github.com/varve-tsdb/varve/objstore/objstoretest"
)

func TestSilentBucketIsGivenUp(t *testing.T) {
	for call := range calls(t.Context(), nil) {
		if call == "upload" {
			continue
		}
		synctest.Test(t, func(t *testing.T) {
			f := newFlaky(t, objstore.RetryOptions{})
			f.faulty.Set(objstoretest.Rule{Fault: objstoretest.Stall()})
			reg := prometheus.NewRegistry()
			b := deadlined(t, f.faulty, objstore.DeadlineOptions{FirstByte: 3 * time.Second, Registerer: reg})
			began := time.Now()
			err := calls(t.Context(), b)[call]()
			var named *objstore.Error
			if !errors.Is(err, objstore.ErrStalled) || errors.Is(err, context.Canceled) || !errors.As(err, &named) || !strings.HasPrefix(named.Name, "dir") {
				t.Errorf("%s: %v", call, err)
			}
			if took := time.Since(began); took != 3*time.Second {
				t.Errorf("%s took %s", call, took)
			}
			if n, err := testutil.GatherAndCount(reg, "varve_objstore_stalls_total"); n == 0 || err != nil {
				t.Errorf("%s: %d series of stalls, %v", call, n, err)
			}

			// The caller's own end is not the bucket's fault.
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if err := calls(ctx, b)[call](); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, objstore.ErrStalled) {
				t.Errorf("%s whose caller gives up: %v", call, err)
			}
			b = deadlined(t, f.faulty, objstore.DeadlineOptions{FirstByte: -1})
			ctx, cancel = context.WithTimeout(t.Context(), time.Hour)
			defer cancel()
			if err := calls(ctx, b)[call](); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, objstore.ErrStalled) {
				t.Errorf("%s without a limit: %v", call, err)
			}
		})
	}
}

func TestStalledBodyGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for n := range int64(9) {
			f := newFlaky(t, objstore.RetryOptions{})
			f.faulty.Set(objstoretest.Rule{Times: 2, Fault: objstoretest.StallAfter(n)})
			b := retrying(t, deadlined(t, f.faulty, objstore.DeadlineOptions{}), objstore.RetryOptions{})
			if got := get(t, t.Context(), b, "dir/object"); got != "0123456789" || f.faulty.Struck() != 2 {
				t.Errorf("stalled after %d bytes, %d times: %q", n, f.faulty.Struck(), got)
			}
		}
	})
}

// slowBucket has bodies of a byte at a time, with a pause before each.
type slowBucket struct {
	objstore.Bucket
	pause time.Duration
}

func (b slowBucket) Get(ctx context.Context, name string) (io.ReadCloser, error) {
	rc, err := b.Bucket.Get(ctx, name)
	return &slowBody{rc, ctx, b.pause}, err
}

type slowBody struct {
	io.ReadCloser
	ctx   context.Context
	pause time.Duration
}

func (b *slowBody) Read(p []byte) (int, error) {
	select {
	case <-time.After(b.pause):
		return b.ReadCloser.Read(p[:1])
	case <-b.ctx.Done():
		return 0, b.ctx.Err()
	}
}

func TestBodiesMustComeForward(t *testing.T) {
	for _, c := range []struct {
		least int64
		pause time.Duration
		ends  bool
	}{
		{1, 9 * time.Second, false},
		{1, 11 * time.Second, true},
		{4, 2 * time.Second, false},
		{4, 3 * time.Second, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			memory := objstoretest.NewMemory()
			memory.Put("object", []byte(strings.Repeat("x", 50)))
			b := deadlined(t, slowBucket{memory, c.pause}, objstore.DeadlineOptions{Stall: 10 * time.Second, MinProgress: c.least})
			rc, err := b.Get(t.Context(), "object")
			if err != nil {
				t.Fatal(err)
			}
			defer rc.Close()
			_, err = io.ReadAll(rc)
			if c.ends != errors.Is(err, objstore.ErrStalled) || !c.ends && err != nil {
				t.Errorf("%d bytes in 10s, one each %s: %v", c.least, c.pause, err)
			}
		})
	}
}

// A reader may take its time.
func TestSlowReaderIsNotABucketThatStalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := objstoretest.NewMemory()
		memory.Put("object", []byte(strings.Repeat("x", 50)))
		b := deadlined(t, memory, objstore.DeadlineOptions{Stall: time.Second, FirstByte: time.Second})
		rc, err := b.Get(t.Context(), "object")
		if err != nil {
			t.Fatal(err)
		}
		for buf := make([]byte, 10); err == nil; _, err = rc.Read(buf) {
			time.Sleep(time.Minute)
		}
		if err != io.EOF {
			t.Errorf("%v", err)
		}
		err = b.Iter(t.Context(), "", func(string) error {
			time.Sleep(time.Minute)
			return nil
		})
		if err = errors.Join(err, rc.Close()); err != nil {
			t.Error(err)
		}
	})
}

func TestDeadlineOptions(t *testing.T) {
	if _, err := objstore.WithDeadlines(objstoretest.NewMemory(), objstore.DeadlineOptions{MinProgress: -1}); err == nil || !strings.Contains(err.Error(), "MinProgress") {
		t.Error(err)
	}
	_, err := objstore.WithHedging(objstoretest.NewMemory(), objstore.HedgeOptions{Quantile: 1, MinDelay: -1, MaxShare: 2})
	for _, field := range []string{"Quantile", "MinDelay", "MaxShare"} {
		if !strings.Contains(fmt.Sprint(err), field) {
			t.Errorf("%v does not name %s", err, field)
		}
	}
}
