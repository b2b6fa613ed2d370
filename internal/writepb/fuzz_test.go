package writepb

import "testing"

func FuzzDecodeV1(f *testing.F) {
	f.Add([]byte(nil))
	f.Add(encode(f, requestV1()))
	f.Add(encode(f, requestV2()))
	f.Fuzz(checkV1)
}

func FuzzDecodeV2(f *testing.F) {
	f.Add([]byte(nil))
	f.Add(encode(f, requestV1()))
	f.Add(encode(f, requestV2()))
	f.Fuzz(checkV2)
}

// FuzzReencode hands over what it finds in any body.
func FuzzReencode(f *testing.F) {
	f.Add([]byte(nil), false)
	f.Add(encode(f, requestV1()), false)
	f.Add(encode(f, requestV2()), true)
	f.Fuzz(func(t *testing.T, body []byte, two bool) {
		v := V1
		if two {
			v = V2
		}
		checkReencoded(t, v, body)
	})
}
