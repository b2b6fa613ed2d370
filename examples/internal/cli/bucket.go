package cli

import (
	"fmt"
	"log/slog"
	"os"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/varve-tsdb/varve/objstore"
	"github.com/varve-tsdb/varve/objstore/azure"
	"github.com/varve-tsdb/varve/objstore/bos"
	"github.com/varve-tsdb/varve/objstore/cos"
	"github.com/varve-tsdb/varve/objstore/filesystem"
	"github.com/varve-tsdb/varve/objstore/gcs"
	"github.com/varve-tsdb/varve/objstore/obs"
	"github.com/varve-tsdb/varve/objstore/oci"
	"github.com/varve-tsdb/varve/objstore/oss"
	"github.com/varve-tsdb/varve/objstore/s3"
	"github.com/varve-tsdb/varve/objstore/swift"
)

// Bucket opens the bucket that a configuration file describes, or without one
// a folder. Operations are counted, ended if the bucket is silent for too long, and
// repeated if they fail in passing.
func Bucket(configFile, folder string, log *slog.Logger, reg prometheus.Registerer) (objstore.Bucket, error) {
	bkt, err := openBucket(configFile, folder)
	if err != nil {
		return nil, err
	}
	counted, err := objstore.WithMetrics(objstore.WithRequests(bkt), objstore.MetricsOptions{Registerer: reg})
	if err != nil {
		return nil, err
	}
	watched, err := objstore.WithDeadlines(counted, objstore.DeadlineOptions{Registerer: reg})
	if err != nil {
		return nil, err
	}
	return objstore.WithRetry(watched, objstore.RetryOptions{Logger: log, Registerer: reg})
}

func openBucket(configFile, folder string) (objstore.Bucket, error) {
	if configFile == "" {
		return filesystem.NewBucket(folder)
	}
	config, err := os.ReadFile(configFile)
	if err != nil {
		return nil, fmt.Errorf("--objstore.config-file: %w", err)
	}
	bkt, err := objstore.FromYAML(config, azure.Provider(), bos.Provider(), cos.Provider(), filesystem.Provider(),
		gcs.Provider(), obs.Provider(), oci.Provider(), oss.Provider(), s3.Provider(), swift.Provider())
	if err != nil {
		return nil, fmt.Errorf("--objstore.config-file %s: %w", configFile, err)
	}
	return bkt, nil
}
