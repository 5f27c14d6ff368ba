/**
 * Every call of a store under its policy (issue 4, point 5): a time-out, a breaker, and for reads some more
 * tries. What comes out is the same port; failures are `StoreFailure`, as the ports say.
 *
 *   actor ─→ [reads: again?] ─→ breaker ─→ time-out, counts ─→ store
 *
 * A write is handed on once: whoever asked knows whether asking twice does harm. What the bus sends at most
 * once (`publish`, `signal`, `notify`, `tell`) and what cannot fail (`leave`, `receive`) passes straight through.
 */
import type { Archive } from "../actors/archive.ts";
import type { Bus } from "../actors/bus.ts";
import type { Directory } from "../actors/directory.ts";
import type { Leases } from "../actors/leases.ts";
import { READ_BYTES } from "../actors/reading.ts";
import { GENERAL } from "../actors/service.ts";
import { Gate } from "./guard.gate.ts";
import { Pace } from "./guard.pace.ts";
import { type GuardParts, StoreGuard } from "./guard.store.ts";
import { POLICIES } from "./policy.ts";

/** The id of no user, in the shape of one: the probe of the directory asks for it. */
const NOBODY = "00000000-0000-0000-0000-000000000000";

/** Entries of one insert and bytes of one page at the most: what the actors ask for. */
const INSERTS_MOST = 1_048_576;
/** Bytes of a page below which a slow store gains nothing: it has one entry at least. */
const PAGE_BYTES_LEAST = 32_768;
/** Derived writes of one call: each is two updates, and some servers hang on a hundred. */
const DERIVED_MOST = 512;

/**
 * The archive under its policy: what takes too long is asked for in smaller parts, until it does not. `close` closes
 * the archive and ends the probes.
 */
export function guardArchive(archive: Archive, parts: GuardParts): Archive {
  const guard = new StoreGuard(POLICIES.archive, parts);
  guard.watch(() => archive.room(GENERAL.id));
  const inserts = new Pace({ most: INSERTS_MOST, least: 1 });
  const pages = new Pace({ most: READ_BYTES, least: PAGE_BYTES_LEAST });
  const derived = new Pace({ most: DERIVED_MOST, least: 1 });
  return {
    claimTerm: (shard, node, nonce) => guard.write(() => archive.claimTerm(shard, node, nonce)),
    highestTerms: (shards) => guard.read(() => archive.highestTerms(shards)),
    shardCount: (proposed) => guard.write(() => archive.shardCount(proposed)),
    insert: (entries) => {
      const some = entries.slice(0, inserts.allowed);
      return inserts.run(some.length, () => guard.write(() => archive.insert(some)));
    },
    standing: (places) => guard.read(() => archive.standing(places)),
    head: (room) => guard.read(() => archive.head(room)),
    page: (room, query) => {
      if (query.bytes === undefined) return guard.read(() => archive.page(room, query));
      return pages.insist(query.bytes, (bytes) => guard.read(() => archive.page(room, { ...query, bytes })));
    },
    byKey: (room, sender, key) => guard.read(() => archive.byKey(room, sender, key)),
    offsetAt: (room, atMs) => guard.read(() => archive.offsetAt(room, atMs)),
    derive: async (writes) => {
      let at = 0;
      do {
        const from = at;
        at += await derived.insist(writes.length - from, async (size) => {
          await guard.write(() => archive.derive(writes.slice(from, from + size)));
          return size;
        });
      } while (at < writes.length);
    },
    createRoom: (room) => guard.write(() => archive.createRoom(room)),
    room: (id) => guard.read(() => archive.room(id)),
    members: (room, page) => guard.read(() => archive.members(room, page)),
    member: (room, user) => guard.read(() => archive.member(room, user)),
    roomsOf: (user, page) => guard.read(() => archive.roomsOf(user, page)),
    publicRooms: (page) => guard.read(() => archive.publicRooms(page)),
    mark: (markers) => guard.write(() => archive.mark(markers)),
    marker: (room, user) => guard.read(() => archive.marker(room, user)),
    markers: (room, page) => guard.read(() => archive.markers(room, page)),
    close: () => {
      guard.stop();
      return archive.close();
    },
  };
}

/** The directory under its policy. `close` closes the directory and ends the probes. */
export function guardDirectory(directory: Directory, parts: GuardParts): Directory {
  const guard = new StoreGuard(POLICIES.directory, parts);
  guard.watch(() => directory.user(NOBODY));
  return {
    createUser: (user, passwordHash) => guard.write(() => directory.createUser(user, passwordHash)),
    user: (id) => guard.read(() => directory.user(id)),
    credentialsByEmail: (email) => guard.read(() => directory.credentialsByEmail(email)),
    credentials: (id) => guard.read(() => directory.credentials(id)),
    findUsers: (prefix, limit) => guard.read(() => directory.findUsers(prefix, limit)),
    rename: (id, name) => guard.write(() => directory.rename(id, name)),
    changePassword: (id, change) => guard.write(() => directory.changePassword(id, change)),
    deleteUser: (id, ending) => guard.write(() => directory.deleteUser(id, ending)),
    openSession: (session) => guard.write(() => directory.openSession(session)),
    exchange: (exchange) => guard.write(() => directory.exchange(exchange)),
    revoke: (user, token, ending) => guard.write(() => directory.revoke(user, token, ending)),
    revocationsAfter: (id, limit) => guard.read(() => directory.revocationsAfter(id, limit)),
    audit: (login) => guard.write(() => directory.audit(login)),
    logins: (account, limit) => guard.read(() => directory.logins(account, limit)),
    prune: (nowMs, auditFromMs, limit) => guard.write(() => directory.prune(nowMs, auditFromMs, limit)),
    close: () => {
      guard.stop();
      return directory.close();
    },
  };
}

/** The bus under its policy. `close` closes the bus and ends the probes. */
export function guardBus(bus: Bus, parts: GuardParts): Bus {
  const guard = new StoreGuard(POLICIES.bus, parts);
  guard.watch(() => bus.terms([0]));
  return {
    shared: bus.shared,
    take: (shard, taking) => guard.write(() => bus.take(shard, taking)),
    terms: (shards) => guard.read(() => bus.terms(shards)),
    owners: (shards) => guard.read(() => bus.owners(shards)),
    append: (shard, term, packs) => guard.write(() => bus.append(shard, term, packs)),
    heads: (shard) => guard.read(() => bus.heads(shard)),
    headsOf: (shard, rooms) => guard.read(() => bus.headsOf(shard, rooms)),
    dirty: (shard) => guard.read(() => bus.dirty(shard)),
    log: (room, after, limit, bytes) => guard.read(() => bus.log(room, after, limit, bytes)),
    stored: (shard, term, room, stored) => guard.write(() => bus.stored(shard, term, room, stored)),
    sleep: (shard, term, room, head) => guard.write(() => bus.sleep(shard, term, room, head)),
    clear: (shard, term, room, head) => guard.write(() => bus.clear(shard, term, room, head)),
    publish: (packs) => bus.publish(packs),
    signal: (signals) => bus.signal(signals),
    notify: (notice) => bus.notify(notice),
    tell: (node, word) => bus.tell(node, word),
    // Once and soon or not at all: it is asked again within the second, and bears a newer state then.
    beat: (self, lifeMs) => guard.write(() => bus.beat(self, lifeMs)),
    fade: (node) => guard.write(() => bus.fade(node)),
    // A join that waited for the breaker might come after its leave.
    join: (room) => guard.wish(() => bus.join(room)),
    leave: (room) => bus.leave(room),
    yielded: (shard) => bus.yielded(shard),
    receive: (receiver) => bus.receive(receiver),
    close: () => {
      guard.stop();
      return bus.close();
    },
  };
}

/** The leases under their policy. All shards are renewed each second, so nothing else need ask. */
export function guardLeases(leases: Leases, parts: GuardParts): Leases {
  const { breaker, writes } = POLICIES.leases;
  const gate = new Gate({ ...parts, breaker, kind: "writes", timeoutMs: writes.timeoutMs });
  return {
    acquire: (shard) => gate.run(() => leases.acquire(shard)),
    renew: (lease) => gate.run(() => leases.renew(lease)),
    adopt: (shard, value) => gate.run(() => leases.adopt(shard, value)),
    release: (lease) => gate.run(() => leases.release(lease)),
    close: () => leases.close(),
  };
}
