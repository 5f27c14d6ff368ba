/** Conformance of a bus: what its tests share, and what goes over the wire between nodes. */
import assert from "node:assert/strict";
import { sampleEntry } from "./archive.conformance.samples.ts";
import type { Bus, BusReceiver, Notice, Pack, Signal } from "./bus.ts";
import type { Limits } from "./limits.ts";

/** An empty hub of its own for one test. */
export interface BusUnderTest {
  readonly shards: number;
  /** A node's own handle. */
  connect(): Promise<Bus>;
  /** Lets this node hold a shard's lock; answers the lock's value. */
  lock(shard: number): Promise<string>;
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
  take(term: number): ReturnType<Bus["take"]>;
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

/** A receiver that keeps what it hears, and lets a test wait for it. */
class Ear implements BusReceiver {
  readonly heard: (Pack | Signal | Notice)[] = [];
  #waiting: (() => void)[] = [];

  onPack(pack: Pack): void {
    this.#hear(pack);
  }

  onSignals(signals: readonly Signal[]): void {
    for (const signal of signals) this.#hear(signal);
  }

  onNotice(notice: Notice): void {
    this.#hear(notice);
  }

  #hear(one: Pack | Signal | Notice): void {
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

/** What is sent to nodes: who hears it, in which order, how often. */
export function wire(check: Check): void {
  const listen = (bus: Bus): Ear => {
    const ear = new Ear();
    bus.receive(ear);
    return ear;
  };

  check("publishes a pack to every node that joined its room, the own one too, in order.", async ({ bus, hub }) => {
    const second = await hub.connect();
    const ears = [listen(bus), listen(second)];
    await Promise.all([bus.join(ROOM), second.join(ROOM)]);
    bus.publish([packOf(ROOM, 1, 2)]);
    bus.publish([packOf(ROOM, 3, 3)]);
    for (const ear of ears) {
      await ear.until(2);
      assert.deepEqual(
        ear.heard.map((one) => (one as Pack).entries.map((entry) => entry.offset)),
        [[1, 2], [3]],
      );
      assert.equal((ear.heard[0] as Pack).prevTerm, 0);
    }
  });

  check("sends packs and signals of a room to nobody who left or never joined it.", async ({ bus, hub }) => {
    const second = await hub.connect();
    const [ear, other] = [listen(bus), listen(second)] as const;
    await Promise.all([bus.join(ROOM), second.join("b")]);
    bus.leave(ROOM);
    bus.publish([packOf(ROOM, 1, 1)]);
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

  check("calls a receiver never while it is in a call.", async ({ bus }) => {
    const order: string[] = [];
    await bus.join(ROOM);
    let done: () => void = () => {};
    const ended = new Promise<void>((resolve) => {
      done = resolve;
    });
    bus.receive({
      onPack: () => {
        order.push("pack in");
        bus.signal([signalOf(ROOM, "alice")]);
        bus.notify(END);
        order.push("pack out");
      },
      onSignals: () => void order.push("signal"),
      onNotice: () => {
        order.push("notice");
        done();
      },
    });
    bus.publish([packOf(ROOM, 1, 1)]);
    await ended;
    assert.deepEqual(order, ["pack in", "pack out", "signal", "notice"]);
  });
}

function signalOf(room: string, user: string): Signal {
  return { room, event: "typing", user, state: "start", offset: 0, term: 1 };
}
