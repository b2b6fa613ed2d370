package s3_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/varve-tsdb/varve/objstore"
	"github.com/varve-tsdb/varve/objstore/s3"
)

func TestBucketNameIsCheckedAtOnce(t *testing.T) {
	for name, want := range map[string]string{"ab": "3 characters", "a..b": "invalid", "a/b": "invalid"} {
		c := s3.DefaultConfig()
		c.Bucket, c.Endpoint, c.AccessKey, c.SecretKey = name, "localhost:1", "key", "secret"
		_, err := s3.NewBucket(c, objstore.ProviderOptions{})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), `"`+name+`"`) {
			t.Errorf("bucket %q: %v", name, err)
		}
	}
}

// What is wrong with a request stays wrong, so that the only try is the last.
func TestInvalidRequestsAreNotRetried(t *testing.T) {
	for code, invalid := range map[string]bool{"InvalidArgument": true, "InvalidBucketName": true, "IncompleteBody": false} {
		var requests atomic.Int64
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			requests.Add(1)
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, `<Error><Code>`+code+`</Code><Message>no</Message></Error>`)
		}))
		c := s3.DefaultConfig()
		c.Bucket, c.AccessKey, c.SecretKey, c.Region = "varve", "key", "secret", "us-east-1"
		c.Endpoint, c.Insecure, c.BucketLookupType, c.MaxRetries = strings.TrimPrefix(srv.URL, "http://"), true, s3.PathLookup, 1
		inner, err := s3.NewBucket(c, objstore.ProviderOptions{})
		if err != nil {
			t.Fatal(err)
		}
		b, err := objstore.WithRetry(inner, objstore.RetryOptions{MaxAttempts: 3, MaxBackoff: 1})
		if err != nil {
			t.Fatal(err)
		}
		err = b.Iter(t.Context(), "", func(string) error { return nil })
		if errors.Is(err, objstore.ErrInvalid) != invalid || (requests.Load() == 1) != invalid {
			t.Errorf("%s: %d requests, %v", code, requests.Load(), err)
		}
		srv.Close()
	}
}
