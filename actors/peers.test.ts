import assert from "node:assert/strict";
import { test } from "node:test";
import { MemoryHub } from "./bus.memory.ts";
import type { Beat, Bus, BusReceiver, Notice } from "./bus.ts";
import { SimulatedClock } from "./clock.ts";
import { Latch, once } from "./latch.fixture.ts";
import { LIMITS } from "./limits.ts";
import type { Log } from "./log.ts";
import { MortalClock } from "./node.fixture.faults.ts";
import { LIFE_MS, Peers, type PeersHost } from "./peers.ts";

/** One node, as far as its peers go, and what it hears of them. */
class End implements PeersHost, BusReceiver {
  readonly name: string;
  readonly bus: Bus;
  readonly clock: MortalClock;
  readonly said: string[] = [];
  readonly gone: string[] = [];
  readonly peers: Peers;
  laps = 0;
  readonly log: Log = { debug() {}, info() {}, warn: (_, message) => void this.said.push(message), error() {} };

  constructor(name: string, hub: MemoryHub, clock: SimulatedClock) {
    this.name = name;
    this.bus = hub.connect();
    this.clock = new MortalClock(clock);
    this.peers = new Peers(this);
    this.bus.receive(this);
  }

  beat(): Beat {
    return { node: this.name, draining: false, since: 0, connections: 0, shards: 0 };
  }

  nodeGone(node: string): void {
    this.gone.push(node);
  }

  lap(): void {
    this.laps++;
  }

  /** Who lives, as this node has heard. */
  get names(): string {
    return this.peers.living.map(({ node }) => node).join();
  }

  onNotice(notice: Notice): void {
    if (notice.kind === "farewell" && notice.node !== this.name) this.peers.farewell(notice.node);
  }

  onPack(): void {}
  onSignals(): void {}
  onWord(): void {}
  onGap(): void {}
}

/** Nodes that have known each other for longer than a life. */
async function ends(...names: string[]) {
  const clock = new SimulatedClock();
  const hub = new MemoryHub(1, LIMITS, { shared: true, now: () => clock.monotonic() });
  const all = names.map((name) => new End(name, hub, clock));
  for (const { peers } of all) await peers.start();
  await clock.advance(LIFE_MS + 1_000);
  return { clock, hub, all };
}

test("Nodes hear of each other within a beat; alone is who hears of nobody.", async () => {
  const { clock, hub, all } = await ends("a");
  const [a] = all as [End];
  assert.deepEqual([a.names, a.peers.alone], ["a", true]);
  const b = new End("b", hub, clock);
  await b.peers.start();
  assert.deepEqual([b.names, b.peers.alone, b.peers.has("a")], ["a,b", false, true]);
  await clock.advance(500);
  assert.deepEqual([a.names, a.peers.alone, a.peers.has("b")], ["a,b", false, true]);
});

test("A killed node is gone when its life is over: once, with a warning.", async () => {
  const { clock, all } = await ends("a", "b", "c");
  const [a, b] = all as [End, End, End];
  b.clock.dead = true;
  await clock.advance(LIFE_MS - 600);
  assert.deepEqual([a.names, a.gone], ["a,b,c", []]);
  await clock.advance(1_100);
  assert.deepEqual([a.names, a.gone, a.said], ["a,c", ["b"], ["a node is not heard of any more"]]);
  await clock.advance(5_000);
  assert.deepEqual(a.gone, ["b"]);
});

test("A node that ends in order is gone at its farewell, and nobody warns of it.", async () => {
  const { clock, all } = await ends("a", "b");
  const [a, b] = all as [End, End];
  const { laps } = a;
  await b.peers.stop("b");
  assert.deepEqual([a.names, a.gone, a.laps], ["a", ["b"], laps + 1]);
  await clock.advance(10_000);
  assert.deepEqual([a.names, a.gone, a.said], ["a", ["b"], []]);
});

test("A farewell that the bus could not be told counts all the same; one of a node never heard of costs nothing.", async () => {
  const { clock, all } = await ends("a", "b");
  const [a, b] = all as [End, End];
  once(b.bus, "fade", () => Promise.reject(new Error("The bus is away.")));
  await b.peers.stop("b");
  assert.deepEqual(b.said, ["the others could not be told of the end"]);
  a.peers.farewell("ghost");
  await clock.advance(10_000);
  assert.deepEqual([a.names, a.gone, a.said], ["a", ["b"], []]);
});

test("An answer from before a farewell does not bring the node back.", async () => {
  const { clock, all } = await ends("a", "b");
  const [a, b] = all as [End, End];
  const latch = new Latch();
  once(a.bus, "beat", async (beat) => {
    const living = await beat();
    await latch.opened;
    return living;
  });
  const beating = a.peers.now();
  await b.peers.stop("b");
  latch.open();
  await beating;
  assert.equal(a.names, "a");
  await clock.advance(10_000);
  assert.deepEqual([a.gone, a.said], [["b"], []]);
});

test("A farewell that is lost is missed at the next beat, with a warning.", async () => {
  const { clock, all } = await ends("a", "b");
  const [a, b] = all as [End, End];
  b.bus.notify = () => undefined;
  await b.peers.stop("b");
  await clock.advance(500);
  assert.deepEqual([a.names, a.gone, a.said], ["a", ["b"], ["a node is not heard of any more"]]);
});

test("When the bus comes back empty nobody is thought gone who beats within a life.", async () => {
  const { clock, hub, all } = await ends("a", "b", "c");
  const [a, b, c] = all as [End, End, End];
  hub.wipe();
  c.clock.dead = true;
  await clock.advance(500);
  assert.deepEqual([a.names, a.gone, b.gone], ["a,b,c", [], []]);
  await clock.advance(LIFE_MS);
  assert.deepEqual([a.names, a.gone, b.gone], ["a,b", ["c"], ["c"]]);
});

test("Who stood still looks again before it judges anyone gone.", async () => {
  const { clock, all } = await ends("a", "b");
  const [a, b] = all as [End, End];
  const latch = new Latch();
  once(b.bus, "beat", async (beat) => {
    await latch.opened;
    return beat();
  });
  await clock.advance(1_900);
  // Both stand still for two seconds, in which the life of b ends, and a goes on first.
  const monotonic = clock.monotonic.bind(clock);
  clock.monotonic = () => monotonic() + 2_000;
  await clock.advance(200);
  assert.deepEqual([a.names, a.gone], ["a,b", []]);
  latch.open();
  await clock.advance(1_000);
  assert.deepEqual([a.names, a.gone], ["a,b", []]);
});

test("After the bus was silent for longer than a life nobody is judged by its first answer.", async () => {
  const { clock, all } = await ends("a", "b");
  const [a, b] = all as [End, End];
  const away = (): Promise<never> => Promise.reject(new Error("The bus is away."));
  const [ofA, ofB] = [a.bus.beat.bind(a.bus), b.bus.beat.bind(b.bus)];
  a.bus.beat = away;
  b.bus.beat = away;
  await clock.advance(LIFE_MS + 2_000);
  a.bus.beat = ofA;
  b.bus.beat = ofB;
  await clock.advance(2_000);
  assert.deepEqual([a.names, a.gone], ["a,b", []]);
});
