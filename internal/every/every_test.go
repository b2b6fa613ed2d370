package every

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestRunRepeatsAfterFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var passes, failures int
		done := make(chan error)
		go func() {
			done <- Run(ctx, time.Minute, func(context.Context) error {
				passes++
				return errors.New("no luck")
			}, func(error) { failures++ })
		}()

		time.Sleep(3*time.Minute + 30*time.Second)
		cancel()
		if err := <-done; err != nil {
			t.Fatalf("Run returned %v after cancel, want nil", err)
		}
		if passes < 3 || passes > 4 || failures != passes {
			t.Fatalf("%d passes and %d failures in 3.5 intervals, want 3 or 4 of both", passes, failures)
		}
	})
}

func TestRunDoesNotReportCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() {
			done <- Run(ctx, time.Minute, func(ctx context.Context) error {
				<-ctx.Done()
				return ctx.Err()
			}, func(err error) { t.Errorf("cancel was reported as a failure: %v", err) })
		}()
		synctest.Wait()
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	})
}
