/** SENDs of edges to real rooms of an owner that dies, moves and forgets, over a wire that loses, delays and repeats. */
import { test } from "node:test";
import fc from "fast-check";
import type { Entry } from "./entry.ts";
import { Edge, Owner, SHARDS, Wire } from "./lines.fixture.ts";
import { seeded } from "./node.fixture.faults.ts";
import { Stage } from "./node.fixture.ts";
import { GENERAL } from "./service.ts";

const ROOMS = [GENERAL.id, "second"] as const;

/** Two edges, and the node that owns all rooms; its ends of the wire change names when it moves or dies. */
class World {
  readonly stage: Stage;
  readonly wire: Wire;
  readonly edges: readonly Edge[];
  #owner: Owner;
  #owners = 0;

  private constructor(stage: Stage, wire: Wire) {
    this.stage = stage;
    this.wire = wire;
    const { limits } = stage;
    this.edges = ["a", "b"].map((name) => new Edge({ name, wire, limits }));
    this.#owner = this.#newOwner();
    this.#tell();
  }

  static async open(seed: number): Promise<World> {
    const stage = await Stage.open({ seed, shards: SHARDS, shared: true });
    await stage.store.createRoom({ ...GENERAL, id: ROOMS[1] });
    return new World(stage, new Wire(stage.clock, seeded(seed)));
  }

  #newOwner(): Owner {
    const { node } = this.stage;
    return new Owner({ name: `o${++this.#owners}`, wire: this.wire, post: (room, item) => node.post(room, item) });
  }

  /** The edges hear who the owner is, each when it does; of one that is none any more not after the next. */
  #tell(): void {
    const owner = this.#owner;
    for (const edge of this.edges) {
      this.stage.clock.after(this.wire.random() * 800, () => {
        if (this.#owner === owner) edge.turnTo(owner.name);
      });
    }
  }

  /** Another end of the wire owns the rooms; the one before is astray, or was said to be the owner too early. */
  move(early: boolean): void {
    const former = this.#owner;
    this.#owner = this.#newOwner();
    const next = this.#owner;
    former.owns = false;
    if (early) {
      next.owns = false;
      this.stage.clock.after(300, () => {
        next.owns = true;
      });
    }
    this.#tell();
  }

  /** The owner dies with all that is in its memory; another process opens its rooms from the stores. */
  async crash(): Promise<void> {
    this.wire.ends.delete(this.#owner.name);
    for (const edge of this.edges) if (this.wire.random() < 0.5) edge.turnTo(undefined);
    // A node starts only where the archive answers.
    this.stage.faults.archiveAway = false;
    await this.stage.crash({ keepHub: true });
    this.#owner = this.#newOwner();
    this.#tell();
  }

  forget(): void {
    for (const room of ROOMS) this.#owner.landings.forget(room);
  }

  /** The hot log is lost while its owner lives. */
  wipe(): void {
    this.stage.hub.wipe();
  }

  send(edgeAt: number, counts: readonly number[]): void {
    const edge = this.edges[edgeAt] as Edge;
    for (const [at, count] of counts.entries()) {
      for (let i = 0; i < count; i++) edge.send(ROOMS[at] as string);
    }
  }

  /** The wire heals: all that was sent must be answered, and be on the log once. */
  async check(how: { readonly refused: boolean }): Promise<void> {
    Object.assign(this.wire, { loss: 0, copies: 0, delayMs: 5 });
    Object.assign(this.stage.faults, { delayMs: 0, rate: 0, archiveAway: false });
    await this.stage.clock.advance(45_000);
    const logs = new Map<string, readonly Entry[]>();
    for (const room of ROOMS) logs.set(room, await this.stage.log(room));
    for (const edge of this.edges) edge.checkStored(logs, how);
  }
}

interface Act {
  readonly run: (world: World) => void | Promise<void>;
}

/** Acts of one kind, from what they are made of; they print as what they do. */
function acted<T>(name: string, made: fc.Arbitrary<T>, run: (world: World, made: T) => void | Promise<void>) {
  return made.map((what): Act & { toString(): string } => ({
    run: (world) => run(world, what),
    toString: () => `${name} ${JSON.stringify(what)}`,
  }));
}

const trouble = {
  loss: fc.constantFrom(0, 0.1, 0.5),
  copies: fc.constantFrom(0, 0.3),
  delayMs: fc.constantFrom(0, 20, 700),
};
const send = acted(
  "send",
  fc.record({ edge: fc.nat({ max: 1 }), counts: fc.tuple(fc.nat({ max: 3 }), fc.nat({ max: 3 })) }),
  (world, { edge, counts }) => world.send(edge, counts),
);
const wait = acted("wait", fc.constantFrom(0, 3, 30, 200, 900, 5_000), (world, ms) => world.stage.clock.advance(ms));
const wire = acted("wire", fc.record(trouble), (world, faults) => void Object.assign(world.wire, faults));
const slow = acted(
  "slow",
  fc.constantFrom(0, 5, 80),
  (world, delayMs) => void Object.assign(world.stage.faults, { delayMs }),
);
const move = acted("move", fc.boolean(), (world, early) => world.move(early));
const forget = acted("forget", fc.constant("lines"), (world) => world.forget());
const crash = acted("crash", fc.constant("owner"), (world) => world.crash());
const wipe = acted("wipe", fc.constant("hot log"), (world) => world.wipe());

const stores = { rate: fc.constantFrom(0, 0.1, 0.3), archiveAway: fc.constantFrom(false, false, true) };
const failing = acted("stores", fc.record(stores), (world, faults) => void Object.assign(world.stage.faults, faults));

const common = [
  { weight: 8, arbitrary: send },
  { weight: 6, arbitrary: wait },
  { weight: 3, arbitrary: wire },
  { weight: 1, arbitrary: slow },
  { weight: 1, arbitrary: wipe },
];
const changes = [
  { weight: 2, arbitrary: move },
  { weight: 1, arbitrary: forget },
  { weight: 1, arbitrary: crash },
];

/** Runs worlds of such acts; at the end each must keep what was promised. */
function attack(kinds: readonly { weight: number; arbitrary: fc.Arbitrary<Act> }[], refused: boolean): Promise<void> {
  const acts = fc.array(fc.oneof(...kinds), { minLength: 5, maxLength: 30 });
  return fc.assert(
    fc.asyncProperty(fc.nat(), acts, async (seed, list) => {
      const world = await World.open(seed);
      for (const act of list) await act.run(world);
      await world.check({ refused });
    }),
    { numRuns: 60 },
  );
}

test("Every SEND of an edge ends stored once, in order, whatever becomes of the wire and of the owner.", () =>
  attack([...common, ...changes], false));

// What one owner refused, unheard, another may not decide after what followed it.
test("With stores that fail every SEND is stored once, in order, or refused, and nothing waits for ever.", () =>
  attack([...common, ...changes, { weight: 3, arbitrary: failing }], true));

test("What an owner stored and forgot is stored once: the edge's own key is known to the room.", async () => {
  const world = await World.open(1);
  await world.stage.clock.advance(1_000);
  world.wire.loses = (word) => word.kind === "answers";
  world.send(0, [3, 0]);
  await world.stage.clock.advance(300);
  world.forget();
  world.wire.loses = () => false;
  await world.check({ refused: false });
  await world.stage.clock.advance(40_000);
});
