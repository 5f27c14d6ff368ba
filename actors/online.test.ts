import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { Notice, Signal } from "./bus.ts";
import { SimulatedClock } from "./clock.ts";
import { LIMITS } from "./limits.ts";
import { MortalClock, seeded } from "./node.fixture.faults.ts";
import { type LineNotice, OnlineWatch } from "./online.ts";
import type { Room } from "./room.ts";

/** A node as far as online and offline go. */
class Post {
  readonly name: string;
  readonly clock: MortalClock;
  readonly limits = LIMITS;
  readonly users = new Set<string>();
  readonly said: string[] = [];
  readonly rooms = new Map<string, Room>();
  readonly registry = { isOnline: (user: string) => this.users.has(user) };
  readonly speaker = { say: (signal: Signal) => void this.said.push(`${signal.user} ${signal.state}`) };
  readonly cluster: { readonly alone: boolean };
  readonly bus: { notify(notice: Notice): void };
  readonly watch: OnlineWatch;

  constructor(wire: Wire, name: string) {
    this.name = name;
    this.clock = new MortalClock(wire.clock);
    this.cluster = wire;
    this.bus = { notify: (notice) => wire.notify(this, notice as LineNotice) };
    this.watch = new OnlineWatch(this);
  }

  /** Opens the room of everybody here. */
  own(members: readonly string[]): void {
    const state = { members: new Map(members.map((user) => [user, user])) };
    const room = { id: "club", status: "open", state, shard: { term: 1 } } as unknown as Room;
    this.rooms.set("club", room);
    this.watch.awake(room);
  }

  connect(user: string): void {
    this.users.add(user);
    this.watch.online(user);
  }

  /** The last connection is gone for longer than the grace. */
  lose(user: string): void {
    this.users.delete(user);
    this.watch.offline(user);
  }

  /** What was last said of a user. */
  last(user: string): string | undefined {
    return this.said.findLast((line) => line.startsWith(`${user} `));
  }
}

/** Notices between nodes, late and lost. */
class Wire {
  readonly clock = new SimulatedClock();
  readonly posts: Post[] = [];
  readonly random: () => number;
  alone = false;
  loss = 0;
  notices: LineNotice[] = [];

  constructor(seed: number, posts = 3) {
    this.random = seeded(seed);
    for (let at = 0; at < posts; at++) this.posts.push(new Post(this, `n${at}`));
  }

  post(at: number): Post {
    return this.posts[at] as Post;
  }

  notify(from: Post, notice: LineNotice): void {
    this.notices.push(notice);
    for (const post of this.posts) {
      if (post !== from && this.random() < this.loss) continue;
      post.clock.after(this.random() * 60, () => post.watch.onNotice(notice));
    }
  }

  crash(post: Post): void {
    post.clock.dead = true;
    this.clock.after(3_000, () => {
      for (const other of this.posts) if (!other.clock.dead) other.watch.gone(post.name);
    });
  }
}

const MEMBERS = ["alice", "bob", "carol"];

test("A node that is alone says at once what it sees, and no notice.", async () => {
  const wire = new Wire(1, 1);
  wire.alone = true;
  const post = wire.post(0);
  post.own(MEMBERS);
  post.connect("alice");
  post.connect("stranger");
  assert.deepEqual(post.said, ["alice online"]);
  post.lose("alice");
  assert.deepEqual(post.said, ["alice online", "alice offline"]);
  await wire.clock.advance(5_000);
  assert.deepEqual(wire.notices, []);
  assert.equal(post.said.length, 2);
});

test("Who comes online at any node is online in rooms at every node, said once.", async () => {
  const wire = new Wire(2);
  wire.post(2).own(MEMBERS);
  wire.post(0).connect("alice");
  wire.post(1).connect("alice");
  await wire.clock.advance(3_000);
  assert.deepEqual(wire.post(2).said, ["alice online"]);
});

test("Who is still connected elsewhere is not offline; who is nowhere is, a moment later.", async () => {
  const wire = new Wire(3);
  const [first, second, owner] = [wire.post(0), wire.post(1), wire.post(2)];
  owner.own(MEMBERS);
  first.connect("alice");
  second.connect("alice");
  await wire.clock.advance(2_000);
  first.lose("alice");
  await wire.clock.advance(3_000);
  assert.deepEqual(owner.said, ["alice online"]);
  second.lose("alice");
  await wire.clock.advance(500);
  assert.deepEqual(owner.said, ["alice online"]);
  await wire.clock.advance(1_500);
  assert.deepEqual(owner.said, ["alice online", "alice offline"]);
});

test("Users of a node that died are offline within 5 s, those who are elsewhere too are not.", async () => {
  const wire = new Wire(4);
  const [dying, living, owner] = [wire.post(0), wire.post(1), wire.post(2)];
  owner.own(MEMBERS);
  dying.connect("alice");
  dying.connect("bob");
  living.connect("bob");
  owner.connect("carol");
  await wire.clock.advance(2_000);
  wire.crash(dying);
  await wire.clock.advance(5_000);
  assert.equal(owner.last("alice"), "alice offline");
  assert.equal(owner.last("bob"), "bob online");
  assert.equal(owner.last("carol"), "carol online");
});

test("A room that wakes at another node after its owner died with users of its own says who of them is offline.", async () => {
  const wire = new Wire(5);
  const [dying, living, heir] = [wire.post(0), wire.post(1), wire.post(2)];
  dying.own(MEMBERS);
  dying.connect("alice");
  living.connect("bob");
  await wire.clock.advance(2_000);
  wire.crash(dying);
  await wire.clock.advance(3_300);
  heir.own(MEMBERS);
  await wire.clock.advance(1_700);
  assert.equal(heir.last("alice"), "alice offline");
  assert.equal(heir.last("bob"), "bob online");
});

test("A process that stood still looks again before it says anybody offline.", async () => {
  const wire = new Wire(6, 2);
  const [edge, owner] = [wire.post(0), wire.post(1)];
  owner.own(MEMBERS);
  edge.connect("alice");
  await wire.clock.advance(2_000);
  owner.watch.onNotice({ kind: "offline", node: "n9", users: ["alice"] });
  // All its timers come late, and what was said meanwhile is heard after the first of them.
  const monotonic = owner.clock.monotonic.bind(owner.clock);
  owner.clock.monotonic = () => monotonic() + 10_000;
  await wire.clock.advance(400);
  owner.watch.onNotice({ kind: "online", node: "n0", users: ["alice"] });
  await wire.clock.advance(3_000);
  assert.deepEqual(owner.said, ["alice online"]);
});

test("A notice has a bounded number of users, and all of them are told of.", async () => {
  const wire = new Wire(7, 2);
  const users = Array.from({ length: 3_500 }, (_, at) => `user${at}`);
  const members = users.slice(3_300, 3_400);
  wire.post(1).own(members);
  for (const user of users) wire.post(0).connect(user);
  await wire.clock.advance(2_000);
  assert.ok(wire.notices.every((notice) => notice.users.length <= 1_000));
  assert.deepEqual(
    wire.post(1).said,
    members.map((user) => `${user} online`),
  );
});

const steps = fc.array(
  fc.record({
    what: fc.constantFrom("connect", "lose", "wait"),
    post: fc.nat(2),
    user: fc.constantFrom(...MEMBERS),
    ms: fc.integer({ min: 1, max: 800 }),
  }),
  { minLength: 5, maxLength: 30 },
);

test("After any changes every room knows within 2 s who is online, though a tenth of the notices is lost.", async () => {
  await fc.assert(
    fc.asyncProperty(fc.nat(1_000_000), steps, async (seed, list) => {
      const wire = new Wire(seed);
      wire.loss = 0.1;
      for (const post of wire.posts) post.own(MEMBERS);
      for (const { what, post, user, ms } of list) {
        const at = wire.post(post);
        if (what === "wait") await wire.clock.advance(ms);
        else if (what === "connect" && !at.users.has(user)) at.connect(user);
        else if (what === "lose" && at.users.has(user)) at.lose(user);
      }
      await wire.clock.advance(2_000);
      for (const user of MEMBERS) {
        const online = wire.posts.some((post) => post.users.has(user));
        for (const post of wire.posts) {
          const last = post.last(user);
          assert.equal(last === `${user} online`, online, `${post.name} said ${last}`);
        }
      }
    }),
    { seed: 3, numRuns: 200, endOnFailure: true },
  );
});
