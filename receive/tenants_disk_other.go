//go:build !(linux || darwin || freebsd)

package receive

import "errors"

func freeDiskBytes(string) (int64, error) { return 0, errors.ErrUnsupported }
