/** What the lookups of `actors/` hold in memory: only here may a test collect what is garbage. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { sampleEntry, sampleMarker } from "../actors/archive.conformance.samples.ts";
import { MemoryArchive } from "../actors/archive.memory.ts";
import { SimulatedClock } from "../actors/clock.ts";
import type { ArchivedEntry } from "../actors/entry.ts";
import { Lookups } from "../actors/lookups.ts";

const MEBIBYTE = 1_048_576;
/** Bytes of the rooms remembered at most, and rooms with as large last messages for twice of it. */
const MOST = 32 * MEBIBYTE;
const ROOMS = 64;

/** Every room has one message of a mebibyte, read anew each time. */
class LargeLast extends MemoryArchive {
  override async page(room: string): Promise<ArchivedEntry[]> {
    return [{ entry: sampleEntry(room, 1, { body: new Uint8Array(MEBIBYTE) }), fate: undefined }];
  }
}

test("Rooms forgotten for others are not held by what is remembered of their members and markers.", async () => {
  const archive = new LargeLast();
  const markers = { of: async (room: string, user: string) => sampleMarker(room, user) };
  const shardOf = () => ({ holds: true, term: 1 });
  const lookups = new Lookups({ archive, clock: new SimulatedClock(), rooms: new Map(), markers, shardOf });
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  collect();
  const before = process.memoryUsage().arrayBuffers;
  for (let at = 0; at < ROOMS; at++) {
    const room = `room-${at}`;
    await Promise.all([lookups.logEnd(room), lookups.member(room, "u"), lookups.marker(room, "u")]);
  }
  const held = (): number => process.memoryUsage().arrayBuffers - before;
  // What nobody holds any more is given back a while after it was found to be free.
  for (let turn = 0; turn < 200 && held() > MOST; turn++) {
    collect();
    await new Promise(setImmediate);
  }
  assert.ok(held() <= MOST, `${held()} bytes held`);
  // And it is what is remembered that is held.
  assert.ok(held() > MOST / 2, `${held()} bytes held`);
  assert.equal((await lookups.logEnd("room-63")).lastMessage?.entry.offset, 1);
});
