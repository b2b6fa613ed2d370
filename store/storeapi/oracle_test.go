package storeapi

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
)

// thanosMessages are the messages of Thanos v0.42.4, pkg/store/storepb, pkg/info/infopb,
// pkg/exemplars/exemplarspb and pkg/metadata/metadatapb, a line each: number, type
// and name of the fields. A star is repeated.
const thanosMessages = `
Label: 1 string name, 2 string value
LabelSet: 1 *Label labels
Chunk: 1 Encoding type, 2 bytes data, 3 uint64 hash
AggrChunk: 1 int64 min_time, 2 int64 max_time, 3 Chunk raw, 4 Chunk count, 5 Chunk sum, 6 Chunk min, 7 Chunk max, 8 Chunk counter
Series: 1 *Label labels, 2 *AggrChunk chunks
SeriesBatch: 1 *Series series
LabelMatcher: 1 MatcherType type, 2 string name, 3 string value
Any: 1 string type_url, 2 bytes value
Func: 1 string name
Grouping: 1 bool by, 3 *string labels
Range: 1 int64 millis
QueryHints: 1 int64 step_millis, 2 Func func, 4 Grouping grouping, 5 Range range
ShardInfo: 1 int64 shard_index, 2 int64 total_shards, 3 bool by, 4 *string labels
SeriesRequest: 1 int64 min_time, 2 int64 max_time, 3 *LabelMatcher matchers, 4 int64 max_resolution_window, 5 *Aggr aggregates, 6 bool partial_response_disabled, 7 PartialResponseStrategy partial_response_strategy, 8 bool skip_chunks, 9 Any hints, 10 int64 step, 11 int64 range, 12 QueryHints query_hints, 13 ShardInfo shard_info, 14 *string without_replica_labels, 15 int64 limit, 16 int64 response_batch_size
SeriesResponse: 1 Series series, 2 string warning, 3 Any hints, 4 SeriesBatch batch
LabelNamesRequest: 1 bool partial_response_disabled, 2 PartialResponseStrategy partial_response_strategy, 3 int64 start, 4 int64 end, 5 Any hints, 6 *LabelMatcher matchers, 7 *string without_replica_labels, 8 int64 limit
LabelNamesResponse: 1 *string names, 2 *string warnings, 3 Any hints
LabelValuesRequest: 1 string label, 2 bool partial_response_disabled, 3 PartialResponseStrategy partial_response_strategy, 4 int64 start, 5 int64 end, 6 Any hints, 7 *LabelMatcher matchers, 8 *string without_replica_labels, 9 int64 limit
LabelValuesResponse: 1 *string values, 2 *string warnings, 3 Any hints
TSDBInfo: 1 LabelSet labels, 2 int64 min_time, 3 int64 max_time
StoreInfo: 1 int64 min_time, 2 int64 max_time, 3 bool supports_sharding, 5 bool supports_without_replica_labels, 6 *TSDBInfo tsdb_infos
Empty:
ExemplarsInfo: 1 int64 min_time, 2 int64 max_time
InfoResponse: 1 *LabelSet label_sets, 2 string ComponentType, 3 StoreInfo store, 4 Empty rules, 5 Empty metric_metadata, 6 Empty targets, 7 ExemplarsInfo exemplars, 8 Empty query, 9 Empty status
ExemplarsRequest: 1 string query, 2 int64 start, 3 int64 end, 4 PartialResponseStrategy partial_response_strategy
Exemplar: 1 LabelSet labels, 2 double value, 3 int64 ts
ExemplarData: 1 LabelSet seriesLabels, 2 *Exemplar exemplars
ExemplarsResponse: 1 ExemplarData data, 2 string warning
Meta: 1 string type, 2 string help, 3 string unit
MetricMetadataEntry: 2 *Meta metas
MetadataPair: 1 string key, 2 MetricMetadataEntry value
MetricMetadata: 1 *MetadataPair metadata
MetricMetadataResponse: 1 MetricMetadata metadata, 2 string warning
MetricMetadataRequest: 1 string metric, 2 int32 limit, 3 PartialResponseStrategy partial_response_strategy
`

var thanosEnums = map[string][]string{
	"Encoding":                {"XOR", "HISTOGRAM", "FLOAT_HISTOGRAM"},
	"MatcherType":             {"EQ", "NEQ", "RE", "NRE"},
	"PartialResponseStrategy": {"WARN", "ABORT"},
	"Aggr":                    {"RAW", "COUNT", "SUM", "MIN", "MAX", "COUNTER"},
}

// thanosFile describes the messages to the protobuf library.
var thanosFile = func() protoreflect.FileDescriptor {
	file := &descriptorpb.FileDescriptorProto{
		Name: proto.String("store/storepb/rpc.proto"), Package: proto.String("thanos"), Syntax: proto.String("proto3"),
	}
	for name, values := range thanosEnums {
		enum := &descriptorpb.EnumDescriptorProto{Name: proto.String(name)}
		for i, v := range values {
			enum.Value = append(enum.Value, &descriptorpb.EnumValueDescriptorProto{Name: proto.String(v), Number: proto.Int32(int32(i))})
		}
		file.EnumType = append(file.EnumType, enum)
	}
	for line := range strings.Lines(strings.TrimSpace(thanosMessages)) {
		name, fields, _ := strings.Cut(strings.TrimSpace(line), ":")
		m := &descriptorpb.DescriptorProto{Name: proto.String(name)}
		for text := range strings.SplitSeq(fields, ",") {
			if words := strings.Fields(text); len(words) == 3 {
				m.Field = append(m.Field, describe(words[0], words[1], words[2]))
			}
		}
		file.MessageType = append(file.MessageType, m)
	}
	described, err := protodesc.NewFile(file, nil)
	if err != nil {
		panic(err)
	}
	return described
}()

func describe(number, typ, name string) *descriptorpb.FieldDescriptorProto {
	f := &descriptorpb.FieldDescriptorProto{Name: &name, Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum()}
	n := int32(0)
	for _, digit := range number {
		n = 10*n + digit - '0'
	}
	f.Number = &n
	typ, repeated := strings.CutPrefix(typ, "*")
	if repeated {
		f.Label = descriptorpb.FieldDescriptorProto_LABEL_REPEATED.Enum()
	}
	if known, ok := descriptorpb.FieldDescriptorProto_Type_value["TYPE_"+strings.ToUpper(typ)]; ok {
		f.Type = descriptorpb.FieldDescriptorProto_Type(known).Enum()
		return f
	}
	f.Type = descriptorpb.FieldDescriptorProto_TYPE_MESSAGE.Enum()
	if thanosEnums[typ] != nil {
		f.Type = descriptorpb.FieldDescriptorProto_TYPE_ENUM.Enum()
	}
	f.TypeName = proto.String(".thanos." + typ)
	return f
}

// oracle is an empty message of Thanos.
func oracle(name protoreflect.Name) *dynamicpb.Message {
	return dynamicpb.NewMessage(thanosFile.Messages().ByName(name))
}

// wrote encodes a message that is written in the text format of protobuf.
func wrote(t testing.TB, name protoreflect.Name, text string) []byte {
	t.Helper()
	m := oracle(name)
	if err := prototext.Unmarshal([]byte(text), m); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	body, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// reads compares an encoded message with one in the text format.
func reads(t *testing.T, name protoreflect.Name, body []byte, want string) {
	t.Helper()
	got := oracle(name)
	if err := proto.Unmarshal(body, got); err != nil {
		t.Errorf("%s: protobuf cannot read % x: %v", name, body, err)
		return
	}
	wanted := oracle(name)
	if err := prototext.Unmarshal([]byte(want), wanted); err != nil {
		t.Fatalf("%s: %v", want, err)
	}
	if !proto.Equal(got, wanted) {
		t.Errorf("%s: protobuf reads\n%s\nwant\n%s", name, prototext.Format(got), prototext.Format(wanted))
	}
}
