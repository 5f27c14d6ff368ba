import assert from "node:assert/strict";
import { test } from "node:test";
import { Stage } from "../actors/node.fixture.ts";
import { Health } from "../ops/health.ts";
import { reportStores } from "./guard.health.ts";
import { BREAKER, StoreStats } from "./guard.stats.ts";

test("A store whose breaker opens is degraded, with the reason, until it closes.", async () => {
  const stage = await Stage.open({});
  const health = new Health(["archive", "directory"], () => 0);
  const [archive, directory] = [new StoreStats("archive"), new StoreStats("directory")];
  const known = Promise.resolve();
  reportStores({ health, stores: [archive, directory], known, writer: stage.node.writer });
  await known;
  health.enter("ready");
  directory.breakers.reads = BREAKER.open;
  directory.lastFailure = "Nobody is there.";
  directory.onChange?.();
  assert.equal(health.ready().status, "degraded");
  assert.match(health.ready().parts?.["directory"] ?? "", /chat goes on.* Nobody is there\.$/);
  directory.breakers.reads = BREAKER.closed;
  directory.onChange?.();
  assert.deepEqual(health.ready(), { status: "ok" });
});

for (const [refuseWhileFailing, status] of [
  [true, "unable"],
  [false, "degraded"],
] as const) {
  test(`An archive that takes no writes makes a node that ${refuseWhileFailing ? "refuses" : "takes"} SENDs meanwhile ${status}.`, async () => {
    const stage = await Stage.open({ refuseWhileFailing });
    const health = new Health(["archive"], () => 0);
    const archive = new StoreStats("archive");
    const { writer } = stage.node;
    reportStores({ health, stores: [archive], known: Promise.resolve(), writer });
    health.enter("ready");
    writer.fails("The disk is full.");
    archive.breakers.writes = BREAKER.open;
    archive.onChange?.();
    assert.equal(health.ready().status, status);
    assert.match(health.ready().parts?.["archive"] ?? "", /The disk is full\.$/, "the writer knows best");
    writer.fails(undefined);
    archive.breakers.writes = BREAKER.closed;
    archive.onChange?.();
    assert.deepEqual(health.ready(), { status: "ok" });
  });
}

test("A full bound makes a node without its archive unable, and room makes it able again.", async () => {
  const stage = await Stage.open({ limits: { pendingEntries: 1 }, refuseWhileFailing: false });
  const health = new Health(["archive"], () => 0);
  const { writer } = stage.node;
  reportStores({ health, stores: [new StoreStats("archive")], known: Promise.resolve(), writer });
  health.enter("ready");
  writer.reserve(1);
  assert.equal(health.ready().status, "ok", "the archive is there: it is load");
  writer.fails("No answer.");
  assert.equal(health.ready().status, "unable");
  writer.release(1);
  writer.fails("No answer.");
  assert.equal(health.ready().status, "degraded");
  writer.reserve(1);
  assert.equal(health.ready().status, "unable", "as soon as it is full, not only at the next try");
  writer.release(1);
  assert.equal(health.ready().status, "degraded");
});

test("A store that failed before it was followed is degraded from the first report on.", async () => {
  const stage = await Stage.open({});
  const health = new Health(["bus"], () => 0);
  const bus = new StoreStats("bus");
  bus.breakers.writes = BREAKER.open;
  reportStores({ health, stores: [bus], known: Promise.resolve(), writer: stage.node.writer });
  health.enter("ready");
  assert.equal(health.ready().status, "degraded");
});

test("Until the revoked tokens are known the directory has failed, whatever its breakers say, and then it is well.", async () => {
  const stage = await Stage.open({});
  const health = new Health(["directory"], () => 0);
  const directory = new StoreStats("directory");
  let resolve = (): void => undefined;
  const known = new Promise<void>((done) => {
    resolve = done;
  });
  reportStores({ health, stores: [directory], known, writer: stage.node.writer });
  directory.breakers.reads = BREAKER.open;
  directory.lastFailure = "Nobody is there.";
  directory.onChange?.();
  assert.equal(health.ready().status, "starting");
  assert.match(health.ready().parts?.["directory"] ?? "", /Nobody may connect .* Nobody is there\.$/);
  directory.breakers.reads = BREAKER.closed;
  directory.onChange?.();
  assert.match(health.ready().parts?.["directory"] ?? "", /Nobody may connect/);
  resolve();
  await known;
  health.enter("ready");
  assert.deepEqual(health.ready(), { status: "ok" });
});
