import assert from "node:assert/strict";
import { after, type TestContext, test } from "node:test";
import type { Collection, Db } from "mongodb";
import { StoreFailure } from "../actors/codes.ts";
import { leasesConformance } from "../actors/leases.conformance.ts";
import { LEASE_MS } from "../actors/leases.memory.ts";
import type { Leases } from "../actors/leases.ts";
import { SILENT } from "../actors/log.ts";
import { startFerretdb } from "../ops/stores/ferretdb.ts";
import { StoreMissing, type StoreServer } from "../ops/stores/process.ts";
import { openMongoArchive, type SharedArchive } from "./archive.mongo.ts";
import { systemClock } from "./clock.ts";
import { type HoldingDocument, LEASES, MongoLeases } from "./leases.mongo.ts";

const found = await startFerretdb().catch((error: unknown) => {
  if (!(error instanceof StoreMissing)) throw error;
  return error.message;
});

if (typeof found === "string") test("The leases on MongoDB.", { skip: found }, () => {});
else suite(found);

/** Two nodes on a database of their own, each with its own connections. */
interface Two {
  readonly archives: readonly [SharedArchive, SharedArchive];
  readonly first: Leases;
  readonly second: Leases;
  readonly expire: () => Promise<void>;
  readonly close: () => Promise<void>;
}

function nodeOf(db: Db, node: string): Leases {
  return new MongoLeases({ db, clock: systemClock, log: SILENT, node });
}

/** The leases, which close all of their table. */
function closing(leases: Leases, close: () => Promise<void>): Leases {
  return {
    acquire: (shard) => leases.acquire(shard),
    renew: (lease) => leases.renew(lease),
    adopt: (shard, value) => leases.adopt(shard, value),
    release: (lease) => leases.release(lease),
    close,
  };
}

/** A database whose inserts wait until `work` has been done, once. */
function beforeInsert(db: Db, work: () => Promise<void>): Db {
  const slow = (collection: Collection): Collection =>
    new Proxy(collection, {
      get(target, name) {
        const method: unknown = Reflect.get(target, name);
        if (typeof method !== "function") return method;
        if (name !== "insertOne") return method.bind(target);
        return async (document: object) => {
          await work();
          return target.insertOne(document);
        };
      },
    });
  return new Proxy(db, {
    get(target, name) {
      if (name === "collection") return (of: string) => slow(target.collection(of));
      const method: unknown = Reflect.get(target, name);
      return typeof method === "function" ? method.bind(target) : method;
    },
  });
}

function suite(server: StoreServer): void {
  after(() => server.close());
  let opened = 0;

  async function openTwo(t?: TestContext): Promise<Two> {
    const url = `${server.url}leases${opened++}`;
    const archives = [
      await openMongoArchive({ url, log: SILENT }),
      await openMongoArchive({ url, log: SILENT }),
    ] as const;
    const [first, second] = [nodeOf(archives[0].db, "node-0"), nodeOf(archives[1].db, "node-1")];
    const expire = async (): Promise<void> => {
      await archives[0].db.collection<HoldingDocument>(LEASES).updateMany({}, { $set: { until: 1 } });
    };
    const close = async (): Promise<void> => void (await Promise.all(archives.map((archive) => archive.close())));
    t?.after(close);
    return { archives, first, second, expire, close };
  }

  leasesConformance("MongoDB", async () => {
    const { first, second, expire, close } = await openTwo();
    return { first, second: closing(second, close), now: () => systemClock.monotonic(), expire };
  });

  test("A lease is given up half a second before its holding runs out, by the server's clock.", async (t) => {
    const { archives, first } = await openTwo(t);
    const before = systemClock.monotonic();
    const lease = await first.acquire(1);
    assert.ok(lease && lease.untilMs >= before + LEASE_MS - 500);
    const { localTime } = await archives[0].db.command({ hello: 1 });
    const held = await archives[0].db.collection<HoldingDocument>(LEASES).findOne({});
    const runsOut = systemClock.monotonic() + (held as HoldingDocument).until - Number(localTime);
    assert.ok(lease.untilMs <= runsOut - 500 + 2, `${lease.untilMs} is too near to ${runsOut}`);
  });

  test("Of a shard that passes from hand to hand the last holding is kept, and no others.", async (t) => {
    const { archives, first, second } = await openTwo(t);
    for (let round = 0; round < 5; round++) {
      for (const leases of [first, second]) {
        const lease = await leases.acquire(7);
        assert.ok(lease);
        await leases.release(lease);
      }
    }
    const ids = await archives[0].db
      .collection<HoldingDocument>(LEASES)
      .find()
      .map(({ _id }) => _id)
      .toArray();
    assert.deepEqual(ids, ["7.0000000000000010"]);
  });

  test("Who slept between its look and its claim holds nothing when others have held the shard meanwhile.", async (t) => {
    const { archives, first, second } = await openTwo(t);
    const [mine, theirs] = archives;
    // It sees the shard free, and others hold it twice before its insert arrives.
    const sleeper = nodeOf(
      beforeInsert(mine.db, async () => {
        const lease = await first.acquire(2);
        assert.ok(lease);
        await first.release(lease);
        assert.ok(await second.acquire(2));
      }),
      "sleeper",
    );
    assert.equal(await sleeper.acquire(2), undefined);
    const holdings = theirs.db.collection<HoldingDocument>(LEASES);
    const [highest] = await holdings.find().sort({ _id: -1 }).limit(1).toArray();
    assert.match(highest?.value ?? "", /^node-1\//);
  });

  test("While MongoDB is away a lock cannot be asked for, and that is a failure of the store.", async (t) => {
    const { first, close } = await openTwo(t);
    const lease = await first.acquire(1);
    assert.ok(lease);
    await close();
    await assert.rejects(first.renew(lease), StoreFailure);
    await assert.rejects(first.acquire(2), StoreFailure);
    await first.release(lease);
  });
}
