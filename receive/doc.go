// Package receive takes Prometheus samples in over HTTP and keeps them in one
// head TSDB per tenant.
//
// The types are few. Handler is an http.Handler for Prometheus remote write 1.0
// and 2.0, and takes in what other packages decode, as receive/otlp does.
// Appendable is the storage behind it, one method; a host may bring its own,
// and Tenants is the one that comes with the package. Reason is the
// verdict on a sample, from a closed list.
//
//	            ┌─────────────────── Handler ───────────────────┐
//	POST ──►  method, type, encoding ► tenant ► size ► snappy ► protobuf framing
//	            ► series by series: labels, times, histograms ► Appender ► Commit
//	            ◄ status, Written headers, text ◄ verdict per sample ◄
//
// # Acknowledgement
//
// A request is answered after the transaction that holds its samples has been
// committed. With Tenants that means that they are in the write-ahead log of
// the tenant's head, handed to the operating system: they survive the process,
// and, as in Prometheus, a crash of the machine only as far as the disk was
// written to. TenantsOptions.SyncOnCommit has the disk written to first; requests
// of a tenant that are handled side by side share the writing.
//
// # Verdicts and status codes
//
// Each sample gets a verdict: stored, already there with the same value, or
// refused for a Reason. Each reason is of a Class, final or retryable, and has
// a status; the request is answered with the highest status of its samples:
//
//	status  when                                             what a sender does
//	204     every sample is stored or was there already      goes on
//	400     some samples are refused for good; all others    drops them, goes on
//	        are stored
//	400     the body is no snappy or no protobuf, is of the  drops it
//	        other version than its headers say, or the
//	        tenant's name is invalid; nothing is stored
//	405     not a POST                                       drops it
//	413     the body is too large, as sent or decompressed,  drops it
//	        or has too many series or samples
//	415     a content type or encoding that is not           tries 1.0, or drops it
//	        understood; the text lists those that are
//	429     the tenant sends too fast, or too many requests  sends it again after
//	        at once; nothing is stored                       Retry-After, if it is
//	                                                         configured to
//	500     the storage failed; nothing of the transaction   sends it again, after
//	        is stored                                        Retry-After
//	503     the storage takes no writes now, the receiver    sends it again, after
//	        has too much to do, or the body did not arrive   Retry-After
//	        in full
//
// A request that deserves several gets the highest, but that anything that may
// come through later beats what never will.
//
// So a final refusal never holds back good samples, nothing that could succeed
// later is answered in a way that makes a sender drop it, and nothing that
// cannot is answered 5xx by itself. The text of an answer names a few of the
// refused series and counts the others by reason.
//
// Answers to 2.0 requests carry the three X-Prometheus-Remote-Write-…-Written
// headers whatever their status, with what is in the storage after the commit.
//
// # Where this differs from Prometheus' own receiver
//
// Prometheus rolls a whole 1.0 request back for one sample out of order, and
// answers 204 for series that it drops because of their labels. Here both are a
// 400 with everything else stored, as the specification of 1.0 has it.
//
// Samples of a series that come unsorted are sorted. A sample that is not newer
// than another of its series in the same request is appended in a transaction
// of its own, because an appender does not compare what one transaction holds
// and would lose it silently. Two values for one time: the first is taken, the
// other refused as a conflict.
//
// Sending a request again succeeds. A head recognises only the newest sample of
// a series by itself, so that samples before it look out of order the second
// time. If the storage is a StoredQuerier, as Tenants is, refused samples are
// looked up, and those that are there with the same value are duplicates, not
// refusals. The search is bounded: 20,000 samples a request, and no further once
// nothing was found of 64 series in a row, as is soon so with samples that are
// truly out of order.
//
// An exemplar that is refused never fails its sample. Those older than what is
// stored are ignored in 2.0 as in 1.0, or repeating a request would fail.
// Only invalid symbol references in an exemplar make a 400. An exemplar without
// a time gets that of the newest sample it came with. One that comes in a series
// without samples, as Prometheus sends them, is kept if the storage is an
// ExemplarAppender and has the series.
//
// Only samples make a new tenant: metadata and exemplars that come apart from
// them are accepted and dropped until the tenant exists. Before something of a
// tenant was stored, metrics count what it sends with an empty tenant.
//
// # Limits
//
// Limits bound what a tenant may send, GlobalLimits what the process spends on
// all of them; a LimitSet is both, and HandlerOptions.Limits is asked for the
// one of now with each request. LimitsFile follows a file in the form of Thanos
// Receive's --receive.limits-config-file, and ParseLimits says which keys of our
// own it may have.
//
//	limit                          reason                           status  class
//	Limits.RequestBytes            request_bytes_limit              413     final
//	Limits.DecodedBytes            decoded_bytes_limit              413     final
//	Limits.RequestSeries           request_series_limit             413     final
//	Limits.RequestSamples          request_samples_limit            413     final
//	Limits.LabelCount              label_count_limit                400     final
//	Limits.LabelNameBytes          label_name_bytes_limit           400     final
//	Limits.LabelValueBytes         label_value_bytes_limit          400     final
//	Limits.ActiveSeries            active_series_limit              400     final
//	Limits.SamplesPerSecond        ingestion_rate_limit             429     retryable
//	Limits.InFlightRequests        tenant_in_flight_requests_limit  429     retryable
//	GlobalLimits.InFlightRequests  in_flight_requests_limit         503     retryable
//	GlobalLimits.InFlightBytes     in_flight_bytes_limit            503     retryable
//	GlobalLimits.Concurrency       concurrency_limit                503     retryable
//
// Those of labels and active series refuse the series that are over them and
// store the others; all others refuse the request as a whole, with nothing of it
// stored. What can be known from the header of a request is answered before its
// body is read, and every retryable refusal has a Retry-After: the time that the
// rate takes to come down, or for the others one that spreads the senders.
// MaxBodyBytes and MaxDecodedBytes are answered as RequestBytes and DecodedBytes.
//
// The limit of active series is final and a 400, where Thanos has 429. Prometheus
// drops what is answered 429 unless retry_on_http_429 is set; and if it is, it
// sends the request, most of which is stored by then, again and again for as long
// as the tenant is at its limit, and nothing that comes after it. With a 400 the
// samples of existing series are stored, those of new ones dropped and named, and
// a series gets its chance anew with each sample. The tenant's rate is another
// matter: the same request does come through a moment later. Senders that are to
// lose nothing to it need retry_on_http_429.
//
// A limit of labels costs nothing for a series that is known already. The
// references of known series are kept apart by the limits they were checked
// under, so that all are checked anew when those change.
//
// The memory for bodies is accounted before it is taken: for the body as it is
// sent what it says it will be, up to 128 KiB, at first, and more as its bytes
// come, since a header costs nothing to make up; for the decompressed body what
// the header of the snappy block claims. So a body that never comes takes next to
// nothing, bombs are turned away like others, and a request that needs more than
// all of the budget is final, 413. A body that takes longer than BodyTimeout is
// answered 503, and its connection closed; what else connections may do, such as
// being idle, is the business of the http.Server (ReadHeaderTimeout, IdleTimeout).
//
// What other receivers hand over is let in by the same GlobalLimits: a Peer whose
// request would be too much is told an *OverloadError, which is retryable, and by
// gRPC before its message is read. Limits of tenants have been checked where it came
// from. Requests of senders wait for other receivers, which wait for this one in
// their turn; if each were full of those, nothing would be stored anywhere. So a
// receiver that routes and stores keeps a quarter of the memory and of the requests
// for its peers, and these have as many turns of their own.
//
// Few requests are stored at once and the others wait for their turn, because a
// processor does not get more done by doing it all at once, and what is being
// stored takes more memory than what waits. If waiting takes long, new requests
// are turned away at the door. BenchmarkOverload measures what is left of the
// capacity, and what memory is taken, at ten times the load that makes use of it.
//
// Not bounded: the number of tenants; memory beyond bodies, such as the samples
// of an open transaction; and one tenant's share of the process, unless its own
// InFlightRequests and SamplesPerSecond are set.
//
// # Labels
//
// The rules are Prometheus': UTF-8 names and values, no name twice, none empty,
// a metric name; an empty value is an absent label; unsorted labels are sorted.
// Beyond that a series may have 4,096 labels that take MaxLabelBytes, because
// Prometheus' label type panics at 16 MiB, and those of a request, written out,
// MaxDecodedBytes, because a reference of two bytes may stand for a long text.
// Exemplars may have labels of 128 characters, as in OpenMetrics.
//
// A written label may have the name of an external label, tenant_id among them.
// It is stored, and the external one wins whenever it is read, from heads and
// from blocks alike: series that only such a label tells apart are one series
// for readers, with the samples of all; of two values for one time they see one.
// A sender that needs the label has to give it another name.
//
// # Other things that are kept
//
// Native histograms, integer and float, exponential and with custom buckets; a
// schema above 8 is reduced to 8. Start timestamps of 2.0 are passed on. Metadata
// of 2.0 is handed over with the first sample of a series that the receiver does
// not know under this metadata, that of 1.0 goes to a MetadataAppender. So
// metadata that changes and later changes back is the changed one until the head
// has next dropped series, which it does with each block.
//
// # Caveats
//
// The storage decides at commit once more, by what other requests have stored in
// the meantime. If a commit has left out samples that Tenants had taken, or if some
// are more than half a block older than the newest of the tenant by now, the request
// is appended once more while no other is, and answered by what comes of that. Any
// other storage is believed. A second value for a time within the out-of-order window
// of a head is dropped without a word, though, if neither is the newest of its series.
//
// A head writes a new series to its log with the transaction that makes it. If two
// requests bring the same new series at the same moment, one of them appends its
// samples after the other's transaction, since a replay would otherwise meet them
// before the series.
//
// To stop, shut down the http.Server, which finishes what is being handled, and
// then close the storage. A storage that refuses with ErrUnavailable while the
// server still runs has senders told 503, and they come again.
//
// # Tenants
//
// Tenants keeps one head TSDB per tenant in a directory of its own and is a
// storage.ChunkQueryable over all of them, a source of blocks to ship, and the
// Appendable of the usual wiring. A tenant's directory is laid out as Thanos
// Receive's, so that either can take over the other's:
//
//	<data>/.varve.lock                   held while a Tenants has the directory open
//	<data>/<tenant>/wal, wbl             logs of samples, and of those out of order
//	<data>/<tenant>/logs.broken          their damaged segments, for a while
//	<data>/<tenant>/chunks_head          full chunks, mapped; the logs hold them too
//	<data>/<tenant>/<ULID>               finished blocks
//	<data>/<tenant>/varve.labels.json    external labels of the blocks; not Thanos'
//	<data>/<tenant>/thanos.shipper.json  which of them are shipped; the shipper's
//
// A sample is in a log when Commit returns, as far as the operating system is
// concerned: a killed process loses nothing, a machine without power may lose
// what had not been synced; with SyncOnCommit it is synced by then. Blocks are cut when the samples in memory span more
// than one and a half block durations, a few at a time, and by Flush; they are
// never merged. A block leaves the disk when it is past the retention and
// shipped, except for the newest, whose end tells on the next start which
// samples of the log are in blocks already. The age of a block counts from its
// newest sample or from its cutting, whichever came later, so that samples from
// long ago stay for a while.
//
// OpenTenants opens none of them. Run does, several side by side, those that were
// written to last first, and whoever needs one that is not open has it opened
// next: so a restart holds up each tenant for as long as its own log takes.
//
// A tenant that is not written to for a while is idle: all of it is cut into
// blocks, its head is closed and its logs are deleted. What it costs from then on
// is the list of its blocks; it is read from them without a head, and they are
// open only while somebody reads. The next write opens a head. When its blocks
// are gone, shipped and past the retention, so is its directory, unless that
// holds anything else: a block that was set aside, or a file that is not ours.
// Exemplars and metadata go with the head.
//
// The TSDB was made to be alone in its process. Where it matters here:
//
//   - It panics when a chunk cannot be written. Its background work is switched
//     off and done by Run instead, so that this happens within a call of ours,
//     which is fenced: the tenant fails, is closed and opened again. A write to
//     the log that fails ends in the same way, because what would follow a torn
//     record is lost by the next replay. What a TSDB in that state does not give
//     back is a goroutine, a file or two and some address space.
//   - To cut late samples it looks through all series for their chunks, and drops
//     those that are older than the newest it has found. What a commit in the meantime
//     gives to a series that was passed already would be dropped with them, so
//     none goes on during the look. The block is written beside commits.
//   - Replaying a log panics beyond any fence when the disk is full, so nothing
//     is opened without the space that takes (see TenantsOptions.MinFreeDisk).
//   - After a crash it can take out-of-order samples for being in chunks that
//     were never written, or forget which series they are of. So their log is
//     cleared of such claims before it is replayed, and they are cut into blocks
//     before those in order are.
//   - Of a damaged log it drops all that follows the damage, and it cannot open
//     one whose checkpoint is damaged or of which a segment is gone. So logs are
//     read through, and mended, before it sees them.
//   - Its defaults cost 8 MiB a tenant: lock stripes, the chunk writer's buffer,
//     the room for exemplars. With ours a tenant of 100 series takes 0.5 MB, of
//     which an empty TSDB is 0.26, and 0.65 MB of the process's memory
//     (BenchmarkTenantsProcess). The room for
//     exemplars grows with their number.
//   - Opening it and cutting a block leave up to 20 MiB of buffers behind. When that
//     has come to an eighth of what is live, and to 32 MiB, the garbage collector is
//     run, or a process of many tenants would need twice its memory at its start
//     and whenever blocks are due. TenantsOptions.KeepGarbage leaves that to the host.
//   - A querier over a head sees the chunk that is being filled as endless; ours
//     looks where it ends.
//
// What the head does not keep: start timestamps, since the chunk encodings that
// hold them cannot be read by Thanos; metadata over a restart; exemplars older
// than the newest MaxExemplars, which are replayed from the log as far as that
// reaches.
//
// # Damage
//
// A log is a sequence of pages of 32 KiB, so that records can be found again
// behind a damage. When a tenant is opened, each damaged segment is replaced by
// one of all its records that can be read and decoded; one of a type that is not
// known is none of them. An error in the log says how many segments and bytes
// were hit, between which times what cannot be read should lie, and how many
// samples, of which times, can be read but have lost the record that says of
// which series they are; metrics count the same (varve_receive_tenants_log_…).
// How many samples were where nothing can be read cannot be known; those of them
// that are in mapped chunks are not lost, which is why these are kept. The first
// four damaged segments that were found, of up to 128 MiB each, stay in
// logs.broken, as links, until another damage is found or blocks have been cut of
// all that was in memory then.
//
// A segment that is gone is a damage, too: it shows as a hole in the numbers, and
// an empty one takes its place. The error names it. A hole of more than a thousand
// segments is taken for a file that is out of place, and the tenant is not opened
// until somebody has moved that. So are zeros a damage where records should be.
//
// What cannot be noticed: that a log ends too early, between two records or two
// segments, unless a checkpoint says that more was there, and that the first
// segments of the log of out-of-order samples are gone. If there are samples out of
// order then, mapped chunks are not kept. Whatever else is left of a series of
// which nobody knows the labels any more is not taken for another series: the
// references of new ones begin behind all that are mentioned anywhere.
//
// Mapped chunks are written anew from the logs from the first damage in them on;
// if their files cannot be opened they are moved to logs.broken, and all of them
// are. That the first of the files are gone cannot be noticed.
//
// Where all that is missing is the end of the last record of a log, a killed
// process has left it, and the record had not been acknowledged, or the file has
// lost its end: that looks the same. So it is repaired with a warning, its segment
// is not kept, as nothing else could be read from it, and mapped chunks are.
// A record without its end anywhere else, in an older segment or a checkpoint, is
// a damage.
//
// A block that cannot be opened because of what its files hold is set aside: its
// directory is renamed to <ULID>.broken, with an error in the log and nothing
// deleted. It would keep its tenant from being opened and blocks from being cut.
//
// With an out-of-order window, a process that dies after a block of out-of-order
// samples was written, and before their log was emptied, leaves these samples in
// both. The next start cuts them once more, together with those that came since,
// so that two blocks that are shipped have them. Readers see each once, since
// equal samples at one time are one, and a vertical compaction of the bucket
// leaves one copy; until then they take space twice, and queries that look at
// chunks rather than samples count them twice. It cannot be told at the start
// that a block holds nothing but what the log holds: the head fills the log on
// while it cuts, and may have emptied it in part. So the block is kept, as
// taking it away could lose samples.
//
// Further caveats. Cutting a block waits for queriers that read its time range,
// in steps of half a second. Any directory in the data directory with a name
// that can be a tenant's is taken for one, and the number of tenants is not
// limited.
//
// # Hashrings
//
// Where several receivers share the work, hashrings say which of them the series
// of a tenant belong on, and on how many: the replication factor. ParseHashrings
// reads them from the JSON of Thanos Receive, and HashringFile follows a file of
// it. Series are placed exactly as Thanos v0.42 places them, so that receivers
// of both kinds can be in one hashring:
//
//	tenant ──► Hashrings.Resolve ──► Hashring     first one that takes the tenant;
//	                                    │         with shuffle sharding its shard
//	labels ──► SeriesHash ──────────► Place ──► endpoint of each replica
//
// Hashrings do not change. When the file does, others take their place, and a
// request goes on with those it began with: none is dropped for a change. During
// it, receivers that see the file at different times place the same series
// differently, each rightly by what it has: compare
// varve_receive_hashring_config_hash.
//
// The external labels of a hashring are those of the tenants that it names, as in
// Thanos: Tenants has them if TenantsOptions.ExternalLabels asks the
// Hashrings. When they change, blocks that are cut already keep those they were cut
// under, where Thanos ships them under the new ones.
//
// What differs from Thanos: a file is looked at more strictly (see
// ParseHashrings), and one that is bad changes nothing; and where zones are so uneven that replicas cannot be balanced over
// them, the rest goes to any zone, while Thanos searches for ever.
//
// A write is acknowledged series by series: Quorum and Votes count what the
// replicas answer. With a replication factor of 3 two must accept:
//
//	accept  refuse for good  fail    verdict
//	2 or 3  any              any     stored; whoever missed it does not matter
//	any     2 or 3           any     final: two will refuse again, whatever the third does
//	1       1                1       retryable, as are all others
//
// In general more than half of the replicas must accept, but 1 of 2 if there are
// two; a series is refused for good once so many refuse that those left are too
// few. So nothing that may succeed later is taken for refused, and nothing that
// cannot is sent again and again because one receiver is away.
//
// # Replication
//
// A Handler with a Router sends each series to the receivers that it belongs on.
// This may be one of them, or none: then it needs no storage and only routes.
//
//	            ┌──────────────────── Handler with a Router ────────────────────┐
//	request ──►  every series: check ► SeriesHash ► Place ─┬► its own ► storage ─┐
//	                                                       ├► message ► Peer ────┤ votes of
//	                                                       └► message ► Peer ────┘ each series
//	            ◄ status, headers, text ◄ verdict of each series ◄ Quorum ◄──────┘
//
// A Peer is a receiver to hand series to; package receive/writestore has those
// that are reached by gRPC, and Thanos' receivers are such. What comes from
// another receiver goes in by Handler.Peer. It is stored here and goes no
// further if it is a replica already, as is what comes by HTTP with the header
// THANOS-REPLICA; replica 0 is routed like a sender's request. A replica beyond the
// replication factor is ErrBadReplica and retryable whichever way it comes: 503 by
// HTTP, where Thanos answers 400. Receivers are set up differently then, as while a
// change reaches one after the other, and no sample is to be lost for that.
//
// A request is looked at in full before any of it goes out. If it is malformed
// nothing of it is stored anywhere, and a series that every receiver would refuse
// for its labels or metadata is refused at once, with nothing else in it looked at,
// as a peer that does not decode it would refuse all others that come with it. Series of 1.0 are handed over in the very
// bytes they came in, unless their labels are not sorted or have no value: these are
// put in order first, since receivers of Thanos take no others, and placed by that
// order. Those of 2.0 are written anew as 1.0, which all receivers
// understand, with their samples, histograms and exemplars; metadata, units and
// start timestamps are kept only by the receiver they were sent to, if it stores
// the series. So is the metadata of a 1.0 request.
//
// A series of one float that has come before is not looked at in full: what its
// labels are placed by is remembered by their key, for MaxKnownSeries. That is a
// hash of the tenant and the labels, whatever the hashrings, so that a change of
// those is seen at once.
//
// The request is answered once no answer that is still to come changes the
// verdict of any series. Calls that it has not waited for go on, so that their
// replicas have the series too, for ForwardTimeout at most; MaxPeerBytes bounds
// what is on its way to one peer. What belongs on this receiver itself is always
// waited for. A replica that missed a series never gets it later: readers find
// it on the others.
//
// Peers answer for series, not for samples, and so does a Handler whose series
// are on several receivers or on others. A series of which one sample is refused
// counts as refused with all of them, in the status, the headers of 2.0 and the
// metrics, though the others are stored. Duplicates count as stored, and so do
// all exemplars of a series that is stored. Thanos' receivers answer for all
// series of a message at once: where one is refused, those that came with it count
// as refused by that replica.
//
// What a sender is told follows the table above. No peer that is away makes a
// 4xx: its replicas are missing, and where the quorum depends on them the answer
// is 503. So it is while no hashring takes the tenant.
//
// A peer that does not answer, or says that it takes nothing now, is left alone
// for MinBackoff, doubling up to MaxBackoff, with some chance in it; its share
// fails at once meanwhile. Then one call tries it. What a peer refuses for some
// series, or fails in for one tenant, is no such failure.
//
// When hashrings change, requests keep to those they began with, and a peer that
// is in none any more is closed after the last of them.
//
// Relabelling is applied, and the clock of TooFarInFuture looked at, where a
// series is stored: receivers of a group should have the same settings.
package receive
