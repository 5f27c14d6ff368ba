/** The metrics of one process: which plain field becomes which Prometheus series. The runbook says what each means. */
import type { PerCode } from "../actors/counters.ts";
import type { Node } from "../actors/node.ts";
import type { Family, Sample } from "../ops/metrics.ts";
import { RoomOffsets } from "./families.rooms.ts";
import type { NativeFanout } from "./fanout.ts";
import type { StoreStats } from "./guard.stats.ts";

/** What is read at a scrape. */
export interface MetricSources {
  readonly node: Node;
  readonly fanout: NativeFanout;
  readonly version: string;
  /** 1 when SENDs are taken. */
  readonly ready: () => number;
  /** Parts with 0 ok, 1 degraded, 2 failed. */
  readonly parts: () => readonly Sample[];
  /** Passwords waiting for a hash. */
  readonly hashesWaiting: () => number;
  /** Of a bus that is shared: how long a word takes through it, ms, words it had to drop, and damaged ones that came. */
  readonly wire?:
    | { readonly lagMs: number | undefined; readonly wordsDropped: number; readonly damaged: number }
    | undefined;
  /** The archive in the data folder. */
  readonly embedded?: { readonly settleFailures: number } | undefined;
  /** Counts of the stores that are guarded. */
  readonly stores?: readonly StoreStats[];
}

const counter = (name: string, help: string, read: () => number): Family => ({ name, help, type: "counter", read });
const gauge = (name: string, help: string, read: () => number): Family => ({ name, help, type: "gauge", read });
const perWord = (counts: PerCode): readonly Sample[] => [...counts].map(([word, value]) => ({ labels: [word], value }));

/** All families, in the order of the runbook. */
export function metricFamilies(sources: MetricSources): readonly Family[] {
  return [
    ...processFamilies(sources),
    ...trafficFamilies(sources),
    ...storeFamilies(sources),
    ...roomFamilies(new RoomOffsets(sources.node)),
    ...callFamilies(sources),
    ...clusterFamilies(sources),
  ];
}

function processFamilies({ node, fanout, version, ready, parts }: MetricSources): readonly Family[] {
  const { counters, registry } = node;
  return [
    {
      name: "confab_info",
      help: "Which version runs on which Node.",
      type: "gauge",
      labels: ["version", "node"],
      read: () => [{ labels: [version, process.version], value: 1 }],
    },
    gauge("confab_ready", "Whether SENDs are taken.", ready),
    {
      name: "confab_component_state",
      help: "0 ok, 1 degraded, 2 failed.",
      type: "gauge",
      labels: ["component"],
      read: parts,
    },
    gauge("confab_connections", "Open client connections.", () => registry.size),
    counter("confab_connections_opened_total", "Connections opened.", () => counters.connectionsOpened),
    {
      name: "confab_connections_closed_total",
      help: "Connections closed, by code.",
      type: "counter",
      labels: ["code"],
      read: () => perWord(counters.closes),
    },
    counter("confab_slow_closes_total", "Connections ended as they did not read.", () => counters.slowCloses),
    gauge("confab_subscriptions", "Open subscriptions.", () => fanout.subscriptions),
    gauge("confab_topics", "Groups of subscriptions that share one encoding.", () => fanout.topics),
    counter("confab_encodings_total", "MESSAGE frames encoded.", () => fanout.encodings),
  ];
}

function trafficFamilies({ node }: MetricSources): readonly Family[] {
  const { counters } = node;
  return [
    counter("confab_bytes_in_total", "Bytes received from WebSocket clients.", () => counters.bytesIn),
    counter("confab_messages_in_total", "SENDs and REST posts that came in.", () => counters.received),
    counter("confab_messages_out_total", "Entries given to subscriptions.", () => counters.delivered),
    counter("confab_receipts_total", "RECEIPTs sent.", () => counters.receipts),
    counter("confab_duplicates_total", "Retries answered with the first RECEIPT.", () => counters.duplicates),
    {
      name: "confab_resumes_total",
      help: "Resumes, by whether they recovered.",
      type: "counter",
      labels: ["recovered"],
      read: () => [
        { labels: ["true"], value: counters.recovered },
        { labels: ["false"], value: counters.unrecovered },
      ],
    },
    counter("confab_replayed_entries_total", "Entries sent by resumes.", () => counters.replayed),
    counter("confab_gaps_total", "Breaks met in a chain of a room.", () => counters.gaps),
    counter("confab_unknown_acks_total", "ACK and NACK frames with an unknown id.", () => counters.unknownAcks),
    {
      name: "confab_refusals_total",
      help: "Refusals, by code.",
      type: "counter",
      labels: ["code"],
      read: () => perWord(counters.refusals),
    },
    counter("confab_signals_total", "Signals published.", () => counters.signals),
    counter("confab_signals_dropped_total", "Signals left out under pressure.", () => counters.signalsDropped),
    {
      name: "confab_http_requests_total",
      help: "REST answers, by class of status.",
      type: "counter",
      labels: ["status"],
      read: () => perWord(counters.answers),
    },
    {
      name: "confab_http_request_seconds",
      help: "Time of a REST request in the server.",
      type: "histogram",
      read: () => counters.answering,
    },
    gauge("confab_rooms_awake", "Rooms in memory.", () => node.rooms.size),
    {
      name: "confab_delivery_seconds",
      help: "From a place in the order to the publish.",
      type: "histogram",
      read: () => counters.delivery,
    },
  ];
}

function storeFamilies({ node, hashesWaiting, embedded }: MetricSources): readonly Family[] {
  const { writer, markers, speaker } = node;
  return [
    {
      name: "confab_store_seconds",
      help: "From a place in the order to durable.",
      type: "histogram",
      read: () => writer.latency,
    },
    counter("confab_stored_entries_total", "Entries made durable.", () => writer.stored),
    counter("confab_store_batches_total", "Writes of the archive, each with its sync.", () => writer.batches),
    {
      name: "confab_store_batch_entries",
      help: "Entries per write.",
      type: "histogram",
      read: () => writer.batchSizes,
    },
    gauge(
      "confab_store_oldest_seconds",
      "Age of the oldest entry that waits for the store.",
      () => writer.oldestMs() / 1_000,
    ),
    counter(
      "confab_store_settle_failures_total",
      "Times that stored entries could not be moved from the embedded archive's journal.",
      () => embedded?.settleFailures ?? 0,
    ),
    {
      name: "confab_queue_depth",
      help: "Things waiting.",
      type: "gauge",
      labels: ["queue"],
      read: () => [
        { labels: ["entries"], value: writer.entries },
        { labels: ["markers"], value: markers.pending },
        { labels: ["signals"], value: speaker.pending },
        { labels: ["hashes"], value: hashesWaiting() },
      ],
    },
    gauge("confab_pending_bytes", "Bytes accepted and not stored.", () => writer.bytes),
    {
      name: "confab_shards",
      help: "Shards by state.",
      type: "gauge",
      labels: ["state"],
      read: () => {
        const states = new Map<string, number>();
        for (const shard of node.shards) states.set(shard.state, (states.get(shard.state) ?? 0) + 1);
        return perWord(states);
      },
    },
  ];
}

/** How far a few rooms are, and how far of that is stored. */
function roomFamilies(offsets: RoomOffsets): readonly Family[] {
  return [
    {
      name: "confab_room_stored_offset",
      help: "The last stored offset, of the rooms that wait longest for the store and then of the busiest.",
      type: "gauge",
      labels: ["room"],
      read: () => offsets.look().map(({ room, stored }) => ({ labels: [room], value: stored })),
    },
    {
      name: "confab_room_accepted_offset",
      help: "The last accepted offset of the same rooms.",
      type: "gauge",
      labels: ["room"],
      // Read after the stored ones of the same scrape.
      read: () => offsets.last.map(({ room, accepted }) => ({ labels: [room], value: accepted })),
    },
  ];
}

/** This node among the others. */
function clusterFamilies({ node, wire }: MetricSources): readonly Family[] {
  const { cluster, counters, lines, landings, calls } = node;
  return [
    gauge("confab_nodes", "Nodes that live, as this one has heard.", () => Math.max(1, cluster.peers.living.length)),
    gauge("confab_shards_owned", "Shards whose rooms live here.", () => node.shards.filter(({ mine }) => mine).length),
    gauge("confab_shards_unowned", "Shards of which no owner is known.", () => cluster.unowned),
    counter("confab_shard_owner_changes_total", "Changes of a shard's owner heard of.", () => cluster.owners.moves),
    {
      name: "confab_handover_seconds",
      help: "Shards given away: from the last decision here to the new owner's word.",
      type: "histogram",
      read: () => counters.moves,
    },
    gauge("confab_lines", "Rooms owned elsewhere with SENDs of this node under way.", () => lines.size),
    gauge("confab_forwarding", "SENDs under way to other nodes.", () => lines.waiting),
    gauge("confab_forwarding_bytes", "Bytes of these.", () => lines.bytes),
    counter("confab_forwarded_total", "SENDs sent to other nodes.", () => counters.forwarded),
    counter("confab_forwarded_again_total", "SENDs sent to other nodes once more.", () => counters.resent),
    gauge("confab_landings", "Lines of other nodes that end here.", () => landings.size),
    {
      name: "confab_calls_total",
      help: "Questions between nodes, by what became of them.",
      type: "counter",
      labels: ["what"],
      read: () => Object.entries(calls.counts).map(([what, value]) => ({ labels: [what], value })),
    },
    gauge(
      "confab_bus_lag_seconds",
      "How long a word through the bus takes; 0 where it is not shared.",
      () => (wire?.lagMs ?? 0) / 1_000,
    ),
    counter(
      "confab_bus_words_dropped_total",
      "Words to other nodes that the bus could not take.",
      () => wire?.wordsDropped ?? 0,
    ),
    counter(
      "confab_bus_damaged_total",
      "Messages, words and beats of other nodes that were not what they should be.",
      () => wire?.damaged ?? 0,
    ),
  ];
}

/** Calls of the stores, each series under the name of a store. */
function callFamilies({ node, stores = [] }: MetricSources): readonly Family[] {
  const perStore = (read: (stats: StoreStats) => number) => (): readonly Sample[] =>
    stores.map((stats) => ({ labels: [stats.store], value: read(stats) }));
  const count = (name: string, help: string, read: (stats: StoreStats) => number): Family => ({
    name,
    help,
    type: "counter",
    labels: ["store"],
    read: perStore(read),
  });
  return [
    {
      name: "confab_store_up",
      help: "Whether the store answers: 0 while a breaker of it is not closed.",
      type: "gauge",
      labels: ["store"],
      read: perStore((stats) => (stats.away === undefined ? 1 : 0)),
    },
    {
      name: "confab_store_breaker_state",
      help: "0 closed, 1 half-open, 2 open.",
      type: "gauge",
      labels: ["store", "calls"],
      read: () =>
        stores.flatMap(({ store, breakers }) =>
          (["reads", "writes"] as const).map((calls) => ({ labels: [store, calls], value: breakers[calls] })),
        ),
    },
    count("confab_store_calls_total", "Calls of the store, repeated ones included.", (stats) => stats.calls),
    count("confab_store_failures_total", "Calls that failed, time-outs included.", (stats) => stats.failures),
    count("confab_store_damaged_total", "Calls that met a damaged row.", (stats) => stats.damaged),
    count("confab_store_timeouts_total", "Calls that were not answered in time.", (stats) => stats.timeouts),
    count("confab_store_refused_total", "Calls answered by an open breaker.", (stats) => stats.refused),
    {
      name: "confab_store_retries_total",
      help: "Calls that failed and were tried again.",
      type: "counter",
      labels: ["store"],
      read: () => retried(stores, node.writer.retries),
    },
    {
      name: "confab_store_call_seconds",
      help: "Time of a call of the store.",
      type: "histogram",
      labels: ["store"],
      read: () =>
        stores.map(({ store, latency: { bounds, buckets, sum, count } }) => ({
          labels: [store],
          bounds,
          buckets,
          sum,
          count,
        })),
    },
  ];
}

/** The writer repeats the writes of the archive, guarded or not; a guard repeats reads. */
function retried(stores: readonly StoreStats[], writes: number): readonly Sample[] {
  const reads = new Map<string, number>([["archive", 0]]);
  for (const { store, retries } of stores) reads.set(store, retries);
  return [...reads].map(([store, value]) => ({ labels: [store], value: store === "archive" ? value + writes : value }));
}
