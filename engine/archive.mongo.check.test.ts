/** What MongoDB gives that Confab never wrote, by the scripted server: each field of each document missing, and foreign. */
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { BSON } from "mongodb";
import {
  sampleEntry,
  sampleLog,
  sampleMarker,
  sampleMember,
  sampleRoom,
} from "../actors/archive.conformance.samples.ts";
import type { Archive } from "../actors/archive.ts";
import { DamagedRow } from "../actors/codes.ts";
import { SILENT } from "../actors/log.ts";
import { ScriptedMongo } from "../ops/stores/mongo.scripted.ts";
import { openMongoArchive } from "./archive.mongo.ts";

interface Setting {
  readonly server: ScriptedMongo;
  readonly archive: Archive;
}

/** An archive with one of everything. */
async function filled(t: TestContext): Promise<Setting> {
  const server = await ScriptedMongo.open({});
  const archive = await openMongoArchive({ url: server.url, log: SILENT });
  t.after(async () => {
    await archive.close();
    await server.close();
  });
  await archive.createRoom(sampleRoom("a"));
  await archive.insert([...sampleLog("a", 1, 2), sampleEntry("a", 3, { ref: 1, headers: ["x", "y"] })]);
  const fate = {
    rev: 3,
    editedAt: 5,
    body: Uint8Array.of(1),
    contentType: "a/b",
    text: true,
    reactions: { ok: ["u"] },
  };
  await archive.derive([
    { kind: "fate", roomId: "a", offset: 3, fate },
    { kind: "member", member: sampleMember("a", "u") },
  ]);
  await archive.mark([sampleMarker("a", "u")]);
  return { server, archive };
}

/** Where each kind of document is, which of its fields may be missing, and the reads that meet it. */
const KINDS = [
  {
    collection: "entries",
    id: "a.0000000000000003",
    optional: ["ref", "contentType", "headers", "rev", "fate"],
    unread: ["rev"],
    reads: [(archive: Archive) => archive.page("a", { limit: 9, end: "last" })],
  },
  {
    collection: "rooms",
    id: "a",
    optional: [],
    unread: [],
    reads: [(archive: Archive) => archive.room("a"), (archive: Archive) => archive.createRoom(sampleRoom("a"))],
  },
  {
    collection: "members",
    id: "a/u",
    optional: [],
    unread: [],
    reads: [(archive: Archive) => archive.member("a", "u"), (archive: Archive) => archive.members("a", { limit: 9 })],
  },
  {
    collection: "markers",
    id: "a/u",
    optional: [],
    unread: [],
    reads: [(archive: Archive) => archive.marker("a", "u"), (archive: Archive) => archive.markers("a", { limit: 9 })],
  },
] as const;

/** Values of kinds that no field has. */
const FOREIGN: readonly unknown[] = [
  null,
  0.5,
  BSON.Long.MAX_VALUE,
  ["x", 1],
  { a: 1 },
  new BSON.ObjectId(),
  new Date(0),
];

for (const { collection, id, optional, unread, reads } of KINDS) {
  test(`A document of ${collection} with a field missing or foreign rejects the read and is named; mended, it is read.`, async (t) => {
    const { server, archive } = await filled(t);
    const documents = server.documents(collection);
    const whole = documents.get(id) as Record<string, unknown>;
    const named = new RegExp(
      `^The document "${id}" of the MongoDB collection ${collection} is damaged: its field .+\\.$`,
    );
    const damaged = (error: Error): boolean => error instanceof DamagedRow && named.test(error.message);
    for (const field of Object.keys(whole).filter(
      (name) => name !== "_id" && !(unread as readonly string[]).includes(name),
    )) {
      const { [field]: value, ...without } = whole;
      const wrong = FOREIGN.filter(
        (one) => typeof one !== "number" || typeof value !== "number" || !/At$|^at$/.test(field),
      );
      for (const other of wrong) {
        documents.set(id, { ...whole, [field]: other });
        for (const read of reads) await assert.rejects(read(archive), damaged, `${field} ${String(other)}`);
      }
      documents.set(id, without);
      const may = (optional as readonly string[]).includes(field);
      for (const read of reads)
        await (may ? read(archive) : assert.rejects(read(archive), damaged, `${field} missing`));
    }
    documents.set(id, whole);
    for (const read of reads) assert.notEqual(await read(archive), undefined);
  });
}

test("A damaged entry rejects what needs it, and is no gap: the entries beside it are read by themselves.", async (t) => {
  const { server, archive } = await filled(t);
  const documents = server.documents("entries");
  const { body: _, ...bodiless } = documents.get("a.0000000000000002") as Record<string, unknown>;
  documents.set("a.0000000000000002", bodiless);
  for (const bytes of [undefined, 1_000_000]) {
    const query = { limit: 9, end: "first", ...(bytes && { bytes }) } as const;
    await assert.rejects(archive.page("a", query), DamagedRow);
    assert.equal((await archive.page("a", { ...query, before: 2 })).length, 1);
    assert.equal((await archive.page("a", { ...query, after: 2 })).length, 1);
  }
  await assert.rejects(archive.byKey("a", "alice", "c/a-2"), DamagedRow);
  assert.equal((await archive.head("a"))?.offset, 3);
});

test("A fate, a reaction, a place, a term or a number of shards that is none rejects what reads it.", async (t) => {
  const { server, archive } = await filled(t);
  const documents = server.documents("entries");
  const id = "a.0000000000000003";
  const whole = documents.get(id) as Record<string, unknown>;
  const fate = whole["fate"] as Record<string, unknown>;
  const fates = [
    { body: "text" },
    { rev: "3" },
    { reactions: { ok: ["u"] } },
    { reactions: [{ reaction: "ok", users: [1] }] },
  ];
  for (const wrong of fates) {
    documents.set(id, { ...whole, fate: { ...fate, ...wrong } });
    await assert.rejects(archive.page("a", { limit: 9, end: "last" }), DamagedRow);
  }
  documents.set(id, { ...whole, term: "1" });
  await assert.rejects(archive.head("a"), DamagedRow);
  await assert.rejects(archive.standing([{ room: "a", offset: 3 }]), DamagedRow);
  documents.set(id, whole);
  documents.set("a.last", { ...whole, _id: "a.last" });
  await assert.rejects(archive.head("a"), DamagedRow);
  await assert.rejects(archive.page("a", { limit: 1, end: "last" }), DamagedRow);
  server.documents("terms").set("7.later", { _id: "7.later" });
  await assert.rejects(archive.claimTerm(7, "n", "x"), DamagedRow);
  await archive.shardCount(8);
  server.documents("settings").set("shards", { _id: "shards", count: "8" });
  await assert.rejects(archive.shardCount(8), DamagedRow);
});
