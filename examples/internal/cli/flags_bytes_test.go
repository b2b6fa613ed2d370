package cli

import "testing"

func TestBytes(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "0B": 0, "17B": 17, "1KB": 1 << 10, "1KiB": 1 << 10, "512MiB": 512 << 20, "1.5GB": 3 << 29, "2T": 2 << 40,
		"": -1, "17": -1, "MiB": -1, "-1MB": -1, "1XB": -1, "1MBi": -1, "1MiBB": -1, "9000EB": -1, "1 MB": -1, "NaNMB": -1,
	} {
		b := Bytes(5)
		err := b.Set(text)
		if want < 0 {
			if err == nil || b != 5 {
				t.Errorf("%q is taken as %d", text, b)
			}
			continue
		}
		if err != nil || int64(b) != want {
			t.Errorf("%q is %d, %v; want %d", text, b, err, want)
		}
		again := Bytes(5)
		if err := again.Set(b.String()); err != nil || again != b {
			t.Errorf("%q is written as %q, which is %d, %v", text, b.String(), again, err)
		}
	}
}
