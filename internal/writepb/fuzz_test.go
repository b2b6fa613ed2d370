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
