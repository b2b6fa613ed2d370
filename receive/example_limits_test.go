package receive_test

import (
	"fmt"

	"github.com/varve-tsdb/varve/receive"
)

// A limits file of Thanos Receive works as it is, and may say more.
func ExampleParseLimits() {
	set, err := receive.ParseLimits([]byte(`
write:
  global:
    max_concurrency: 30
  default:
    request: {samples_limit: 10000}
    head_series_limit: 1000000
  tenants:
    small-team:
      head_series_limit: 50000
      samples_per_second_limit: 2000
`))
	if err != nil {
		fmt.Println(err)
		return
	}
	team := set.For("small-team")
	fmt.Println(team.ActiveSeries, team.SamplesPerSecond, team.RequestSamples)
	fmt.Println(set.For("anyone else").ActiveSeries)

	_, err = receive.ParseLimits([]byte("write:\n  default:\n    head_series: 1"))
	fmt.Println(err)
	// Output:
	// 50000 2000 10000
	// 1000000
	// invalid limits: unmarshal errors:
	//   line 3: the key head_series is not known here: mind its spelling and indentation, or leave it out
}
