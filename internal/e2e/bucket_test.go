package e2e

import (
	"encoding/json"
	"fmt"
	"math"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/prompb"
	"github.com/prometheus/prometheus/tsdb/tsdbutil"
)

// bucketDays is how long the data in the bucket is: Thanos downsamples blocks of
// more than 40 hours only.
const bucketDays = 4

// bucketBatch is an hour of series at a sample a minute: a counter that starts
// again each night, a gauge, and a native histogram.
func bucketBatch(from time.Time) (series []prompb.TimeSeries) {
	for i := range 5 {
		instance := prompb.Label{Name: "instance", Value: fmt.Sprint(i)}
		counter := prompb.TimeSeries{Labels: []prompb.Label{{Name: "__name__", Value: "bucket_requests_total"}, instance}}
		gauge := prompb.TimeSeries{Labels: []prompb.Label{{Name: "__name__", Value: "bucket_queue_length"}, instance}}
		native := prompb.TimeSeries{Labels: []prompb.Label{{Name: "__name__", Value: "bucket_seconds"}, instance}}
		for minute := range 60 {
			at := from.Add(time.Duration(minute) * time.Minute)
			n := int64(at.Sub(at.Truncate(24*time.Hour)) / time.Minute)
			counter.Samples = append(counter.Samples, prompb.Sample{Timestamp: at.UnixMilli(), Value: float64(n * int64(i+1))})
			gauge.Samples = append(gauge.Samples, prompb.Sample{Timestamp: at.UnixMilli(), Value: 100 * math.Sin(float64(n)/37+float64(i))})
			native.Histograms = append(native.Histograms, prompb.FromIntHistogram(at.UnixMilli(), tsdbutil.GenerateTestHistogram(n)))
		}
		series = append(series, counter, gauge, native)
	}
	return series
}

// fileBucket is a bucket in a directory.
type fileBucket struct{ dir string }

func (b fileBucket) config() string {
	return "type: FILESYSTEM\nconfig: {directory: " + b.dir + "}\n"
}

// blockMeta is what the tests look at in a meta.json.
type blockMeta struct {
	ULID             string
	MinTime, MaxTime int64
	Compaction       struct{ Level int }
	Thanos           struct {
		Downsample struct{ Resolution int64 }
	}
}

func (b fileBucket) blocks(t *testing.T) (blocks []blockMeta) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(b.dir, "*", "meta.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		var m blockMeta
		if err := json.Unmarshal(mustRead(t, path), &m); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		blocks = append(blocks, m)
	}
	return blocks
}

// verified has Thanos look for whatever it finds wrong with blocks.
func (b fileBucket) verified(t *testing.T) {
	t.Helper()
	args := []string{"tools", "bucket", "verify", "--objstore.config-file=" + writeFile(t, "bucket.yaml", b.config()), "--log.level=info"}
	for _, issue := range []string{"index_known_issues", "duplicated_compaction", "overlapped_blocks"} {
		args = append(args, "--issues="+issue)
	}
	out, err := exec.Command(peer(t, "thanos"), args...).CombinedOutput()
	text := string(out)
	if err != nil || strings.Contains(text, "level=warn") || strings.Contains(text, "level=error") {
		t.Errorf("thanos tools bucket verify: %v\n%s", err, text)
	}
}

// inspected returns the table that Thanos prints of a bucket.
func (b fileBucket) inspected(t *testing.T) string {
	t.Helper()
	out, err := exec.Command(peer(t, "thanos"), "tools", "bucket", "inspect",
		"--objstore.config-file="+writeFile(t, "bucket.yaml", b.config())).CombinedOutput()
	if err != nil {
		t.Fatalf("thanos tools bucket inspect: %v\n%s", err, out)
	}
	return string(out)
}

// bucketQueries are asked at a step of a quarter of an hour.
var bucketQueries = []string{
	`bucket_requests_total`,
	`sum(rate(bucket_requests_total[1h]))`,
	`bucket_queue_length`,
	`avg_over_time(bucket_queue_length[2h])`,
	`count by (instance) ({__name__=~"bucket_.*"})`,
	`histogram_quantile(0.9, rate(bucket_seconds[1h]))`,
}

// Thanos finds nothing wrong with the blocks that Varve ships, compacts them, and
// Varve answers from what Thanos makes of them as it did before.
func TestThanosCompactsOurBucket(t *testing.T) {
	bucket := fileBucket{t.TempDir()}
	config := writeFile(t, "bucket.yaml", bucket.config())
	r := newReceiver(t)
	r.startVarve(t, example(t, "receive"), "writer", hashring{}, "--objstore.config-file="+config)
	to := time.Now().UTC().Truncate(24 * time.Hour)
	from := to.Add(-bucketDays * 24 * time.Hour)
	for at := from; at.Before(to); at = at.Add(time.Hour) {
		r.mustSend(t, bucketBatch(at))
	}
	if err := r.terminate(t, time.Minute); err != nil {
		t.Fatalf("the receiver ended with %v after SIGTERM", err)
	}

	shipped := bucket.blocks(t)
	if len(shipped) != bucketDays*12 {
		t.Fatalf("%d blocks are in the bucket, want one for each two hours of %d days", len(shipped), bucketDays)
	}
	bucket.verified(t)
	table := bucket.inspected(t)
	for _, b := range shipped {
		if !strings.Contains(table, b.ULID) {
			t.Errorf("thanos tools bucket inspect does not list %s:\n%s", b.ULID, table)
		}
	}
	allinone := example(t, "allinone")
	answers := func() map[string]answer {
		v := &varve{address: freeAddress(t)}
		v.process = start(t, "allinone", allinone, "--http-address="+v.address, "--data-dir="+t.TempDir(), "--objstore.config-file="+config)
		v.ready(t, "http://"+v.address+"/-/ready")
		defer v.kill()
		found := map[string]answer{}
		for _, q := range bucketQueries {
			e, err := get(v.address, "/api/v1/query_range", url.Values{
				"query": {q}, "step": {"900"},
				"start": {strconv.FormatInt(from.Unix(), 10)}, "end": {strconv.FormatInt(to.Unix(), 10)},
			})
			if err != nil {
				t.Fatalf("%s: %v", q, err)
			}
			found[q] = parse(t, e)
		}
		return found
	}
	before := answers()

	run(t, t.TempDir(), peer(t, "thanos"), "compact", "--objstore.config-file="+config, "--data-dir="+t.TempDir(),
		"--consistency-delay=0s", "--delete-delay=0s", "--http-address="+freeAddress(t))
	compacted, downsampled := 0, 0
	for _, b := range bucket.blocks(t) {
		if b.Compaction.Level > 1 {
			compacted++
		}
		if b.Thanos.Downsample.Resolution > 0 {
			downsampled++
		}
	}
	if compacted == 0 || downsampled == 0 {
		t.Fatalf("%d blocks are compacted and %d downsampled by Thanos", compacted, downsampled)
	}
	bucket.verified(t)
	for q, got := range answers() {
		want := before[q]
		if want.points() == 0 {
			t.Errorf("%s: no answer", q)
		}
		if d := diff(want, got); d != "" {
			t.Errorf("%s after compaction:\n%s", q, d)
		}
	}
}

func mustRead(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
