// Package otlp receives OTLP metrics over HTTP and stores them as Prometheus
// samples.
//
// Handler is an http.Handler, by convention at /api/v1/otlp/v1/metrics; it
// serves any path. It stands on a receive.Handler and hands its samples to it,
// so that whatever a host's senders speak there is one storage, one rule for
// tenants, one set of limits, and one count of what became of each sample.
//
//	         ┌──────────────────────── Handler ────────────────────────┐
//	POST ──► type, encoding ► tenant ► size ► gzip ► shape ► protobuf or JSON
//	         ► screen, point by point ► Prometheus' translator
//	         ► a message of remote write 2.0 ► receive.Intake ► Appender ► Commit
//	         ◄ ExportMetricsServiceResponse or Status ◄ verdict per sample ◄
//
// The translator is Prometheus' own (storage/remote/otlptranslator), with all
// of its settings in Options: names, units, job and instance, target_info,
// exemplars, start timestamps and metadata come out as they do there. The
// message between the translator and the storage costs a little time and saves
// a second write path: order within a request, duplicates, lookups of what is
// stored already and the caches of a receive.Handler are those of remote write.
//
// # Statuses
//
// The form of an answer is that of the request, protobuf or JSON; it is text
// where the form is not known. Senders of OTLP come again after 429, 502, 503
// and 504 and nothing else, and drop what is answered otherwise; so say the
// specification of OTLP/HTTP, the OpenTelemetry SDKs and the Collector.
//
//	status  when                                      Prometheus     what a sender does
//	200     all is stored or was there already        200            goes on
//	200     partial_success: some points are refused  400 or 500     logs how many and
//	        for good; all others are stored           for all        why, goes on
//	400     no point is stored, each refused for      400 or 500     drops it, logs
//	        good; or the body is not what it claims
//	        to be; or the tenant's name is invalid
//	405     not a POST                                405            drops it
//	413     too large, as sent, decompressed or       400, or it is  drops it
//	        decoded                                   cut off
//	415     a content type or encoding that is not    400            drops it, logs
//	        understood; the text lists those that are
//	503     the storage failed or takes no writes     500            sends it again,
//	        now, or the body did not arrive in full                  after Retry-After
//
// The last line is where remote write and OTLP differ most: a failed storage is
// 500 there, since its senders repeat any 5xx, and must be 503 here, or a
// moment's failure would lose data. Prometheus answers 500 for that, and for
// metrics that it cannot translate, which its 400 does not cover; it rolls all
// of a request back for one bad point. Retryable beats final: a request with
// both is 503, and repeating it stores what can be.
//
// partial_success counts data points, as OTLP does; metrics of the
// receive.Handler count samples, of which a histogram or summary makes several.
// A point refused before it is translated counts as one sample.
//
// If the receive.Handler has a Router, a point is refused where a quorum of the
// receivers that one of its series belongs on refuses it for good, wherever they
// are, and it is stored where a quorum stores all of its series. While a quorum is
// missing the whole request is answered 503. Receivers of Thanos refuse all series
// they were handed at once for one of them, so that with some of those in the
// hashring points can be counted as refused that are stored.
//
// 415 is by HTTP what a wrong type is, and to senders of OTLP it is as final as
// 400, which the specification also allows. Parameters of the content type are
// not looked at; Prometheus refuses a charset.
//
// # What costs a point, and only it
//
// A metric of delta temporality, unless an option takes it; an exponential
// histogram of scale below -4 (those above 8 are merged down) or one that
// contradicts itself; names of metrics or attributes from which no name can be
// made; labels that are not UTF-8 or longer than receive.MaxLabelBytes; times
// that are missing, past 2262 or too far ahead; and all for which the storage
// refuses samples. What is wrong with what a resource or a scope gives to its
// series costs all of those; what is wrong only with target_info costs that. An
// exemplar without a value costs the exemplar.
//
// # Delta temporality
//
// By default such points are refused, as Prometheus does. DeltaNative stores
// them as they come. DeltaCumulative adds them up, per tenant and stream, as
// Prometheus does with its feature otlp-deltatocumulative, with three
// differences: streams of two tenants are never added to each other; what is
// refused is told to the sender; and what a request adds is taken back if it
// has to be sent again, so that nothing is added twice or lost. The newest
// point of a stream may be repeated. Exponential histograms of different scales
// meet at the lower, and keep to 160 buckets a side. While a request with delta
// points is being stored, others of its tenant with delta points wait for it, as
// long as their senders do.
//
// The sums are in memory. After a restart streams begin at zero, which rate()
// takes for the reset that it is. All points of a stream must reach one
// receiver.
//
// # Hostile requests
//
// The decoder calls itself for values inside of values, and a body within
// Prometheus' limit of 32 MiB can nest deeper than a goroutine's stack is,
// which no recover can catch. Empty messages take a hundred times their bytes
// once they are decoded. Two points decades apart make the translator write
// millions of samples of target_info, which took it minutes. So the shape of a
// body is looked at before it is decoded: values nest 64 levels at most, and
// decoded data takes at most four times MaxDecodedBytes, as far as can be
// estimated. target_info is made as Prometheus does, but for 10,000 samples a
// request; beyond that a resource has the first and the last. Labels of a
// request, written out, are bounded as in remote write.
//
// # Where this differs from Prometheus otherwise
//
// A point without a time, or with text that is not UTF-8, is refused;
// Prometheus stores them, as of 1970 in the first case. Exemplars of a point
// without a value are dropped, because a head takes none with a stale marker.
// An exemplar without a time has that of its point. Of metadata without a type,
// as native delta has it, unit and help are kept by series, not by family, and
// the quantiles of a summary whose name ends in _count or _sum have their
// metadata under the name without it.
package otlp
