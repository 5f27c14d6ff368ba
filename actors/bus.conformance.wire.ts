/** Conformance of a bus: what its tests share, and what goes over the wire between nodes. */
import assert from "node:assert/strict";
import { assertSameEntries, sampleEntry } from "./archive.conformance.samples.ts";
import type { Bus, BusReceiver, Notice, Pack, Signal, Taking } from "./bus.ts";
import type { Limits } from "./limits.ts";
import type { Word } from "./words.ts";

/** An empty hub of its own for one test. */
export interface BusUnderTest {
  readonly shards: number;
  /** A node's own handle. */
  connect(): Promise<Bus>;
  /** Lets this node hold a shard's lock; answers the lock's value. */
  lock(shard: number): Promise<string>;
  /** Lets so many ms pass by the clock of the hub. */
  elapse(ms: number): Promise<void>;
  /** Forgets everything, as a store that comes back empty. */
  wipe(): Promise<void>;
  close(): Promise<void>;
}

/** The room of most tests. */
export const ROOM = "a";

/** One hub, one handle, the shard of `ROOM` fenced for term 1. */
export interface Scene {
  readonly hub: BusUnderTest;
  readonly bus: Bus;
  readonly shard: number;
  /** Another room of the same shard, and one of another. */
  readonly sibling: string;
  readonly stranger: string;
  take(term: number, over?: Partial<Taking>): ReturnType<Bus["take"]>;
}

/** Registers a test with a scene of its own. */
export type Check = (title: string, body: (scene: Scene) => Promise<void>, limits?: Partial<Limits>) => void;

/** Entries `first` to `last` of one room as one pack. */
export function packOf(room: string, first: number, last: number, over: Partial<Pack> & { term?: number } = {}): Pack {
  const { term = 1, ...rest } = over;
  const prevTerm = rest.prevTerm ?? (first === 1 ? 0 : term);
  const entries = Array.from({ length: last - first + 1 }, (_, i) =>
    sampleEntry(room, first + i, { term, prevTerm: i === 0 ? prevTerm : term }),
  );
  return { room, prevTerm, entries, opening: false, ...rest };
}

/** A word and who said it. */
export interface Told {
  readonly from: string;
  readonly word: Word;
}

/** All that a receiver hears. */
export type Heard = Pack | Signal | Notice | Told | "gap";

/** A receiver that keeps what it hears, and lets a test wait for it. */
export class Ear implements BusReceiver {
  readonly name: string;
  readonly heard: Heard[] = [];
  #waiting: (() => void)[] = [];

  constructor(name = "n1") {
    this.name = name;
  }

  onPack(pack: Pack): void {
    this.#hear(pack);
  }

  onSignals(signals: readonly Signal[]): void {
    for (const signal of signals) this.#hear(signal);
  }

  onNotice(notice: Notice): void {
    this.#hear(notice);
  }

  onWord(from: string, word: Word): void {
    this.#hear({ from, word });
  }

  onGap(): void {
    this.#hear("gap");
  }

  #hear(one: Heard): void {
    this.heard.push(one);
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve();
  }

  async until(count: number): Promise<void> {
    while (this.heard.length < count) await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }
}

const END: Notice = { kind: "close", connection: "end" };

/** Sends packs as an owner does: accepted by the hot log first (rule 4). */
async function send(bus: Bus, shard: number, packs: readonly Pack[]): Promise<void> {
  assert.equal(await bus.append(shard, 1, packs), "ok");
  bus.publish(packs);
}

/** What is sent to nodes: who hears it, in which order, how often. */
export function wire(check: Check): void {
  const listen = (bus: Bus): Ear => {
    const ear = new Ear();
    bus.receive(ear);
    return ear;
  };

  check(
    "publishes a pack to every node that joined its room, the own one too, in order.",
    async ({ bus, shard, hub }) => {
      const second = await hub.connect();
      const ears = [listen(bus), listen(second)];
      await Promise.all([bus.join(ROOM), second.join(ROOM)]);
      const first = packOf(ROOM, 1, 2, { opening: true });
      await send(bus, shard, [first]);
      await send(bus, shard, [packOf(ROOM, 3, 3)]);
      bus.notify(END);
      for (const ear of ears) {
        await ear.until(3);
        assert.deepEqual(ear.heard.pop(), END, "nothing comes twice");
        assert.deepEqual(
          ear.heard.map((one) => (one as Pack).entries.map((entry) => entry.offset)),
          [[1, 2], [3]],
        );
        assertSameEntries((ear.heard[0] as Pack).entries, first.entries);
        assert.deepEqual({ ...(ear.heard[0] as Pack), entries: [] }, { ...first, entries: [] });
      }
    },
  );

  check("sends packs and signals of a room to nobody who left or never joined it.", async ({ bus, shard, hub }) => {
    const second = await hub.connect();
    const [ear, other] = [listen(bus), listen(second)] as const;
    await Promise.all([bus.join(ROOM), second.join("b")]);
    bus.leave(ROOM);
    await send(bus, shard, [packOf(ROOM, 1, 1, { opening: true })]);
    bus.signal([signalOf(ROOM, "alice")]);
    bus.notify(END);
    await Promise.all([ear.until(1), other.until(1)]);
    assert.deepEqual([ear.heard, other.heard], [[END], [END]]);
  });

  check("sends signals to the nodes that joined their rooms, and only those of these rooms.", async ({ bus, hub }) => {
    const second = await hub.connect();
    const ear = listen(second);
    await second.join(ROOM);
    bus.signal([signalOf(ROOM, "alice"), signalOf("b", "bob"), signalOf(ROOM, "carol")]);
    bus.notify(END);
    await ear.until(3);
    assert.deepEqual(ear.heard, [signalOf(ROOM, "alice"), signalOf(ROOM, "carol"), END]);
  });

  check("sends a notice to every node once.", async ({ bus, hub }) => {
    const second = await hub.connect();
    const ears = [listen(bus), listen(second)];
    const notice: Notice = { kind: "notice", user: "alice", event: "added", room: ROOM, by: "bob" };
    second.notify(notice);
    second.notify(END);
    for (const ear of ears) {
      await ear.until(2);
      assert.deepEqual(ear.heard, [notice, END]);
    }
  });

  check("calls a receiver never while it is in a call.", async ({ bus, shard }) => {
    const order: string[] = [];
    await bus.join(ROOM);
    let done: () => void = () => {};
    const ended = new Promise<void>((resolve) => {
      done = resolve;
    });
    bus.receive({
      name: "n1",
      onPack: () => {
        order.push("pack in");
        bus.signal([signalOf(ROOM, "alice")]);
        bus.notify(END);
        order.push("pack out");
      },
      onSignals: () => void order.push("signal"),
      onNotice: () => {
        order.push("notice in");
        bus.tell("n1", { kind: "whoIsThere", rooms: [ROOM] });
        order.push("notice out");
      },
      onWord: () => {
        order.push("word");
        done();
      },
      onGap: () => void order.push("gap"),
    });
    await send(bus, shard, [packOf(ROOM, 1, 1, { opening: true })]);
    await ended;
    assert.deepEqual(order, ["pack in", "pack out", "signal", "notice in", "notice out", "word"]);
  });
}

function signalOf(room: string, user: string): Signal {
  return { room, event: "typing", user, state: "start", offset: 0, term: 1 };
}
