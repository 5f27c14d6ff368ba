import assert from "node:assert/strict";
import { test } from "node:test";
import { MemoryArchive } from "./archive.memory.ts";
import type { MarkerRecord } from "./archive.ts";
import { SimulatedClock } from "./clock.ts";
import { StoreFailure } from "./codes.ts";
import { LIMITS } from "./limits.ts";
import { SILENT } from "./log.ts";
import { Markers } from "./markers.ts";

/** Takes markers unless it is away. */
class Moody extends MemoryArchive {
  away = false;
  tries = 0;

  override async mark(markers: readonly MarkerRecord[]): Promise<void> {
    this.tries++;
    if (this.away) throw new StoreFailure("away");
    await super.mark(markers);
  }
}

test("An archive that takes no markers is told of once, not at every try, and again when it goes another time.", async () => {
  const archive = new Moody();
  const clock = new SimulatedClock();
  const told: string[] = [];
  const log = { ...SILENT, warn: (_fields: object, message: string) => void told.push(message) };
  const markers = new Markers({ archive, clock, limits: LIMITS, log, written: () => undefined });
  const outage = async (): Promise<void> => {
    archive.away = true;
    await clock.advance(10 * LIMITS.markerFlushMs);
    archive.away = false;
    await clock.advance(2 * LIMITS.markerFlushMs);
  };
  markers.raise({ room: "r", user: "u", read: 1, readCount: 1, delivered: 1 });
  await outage();
  assert.ok(archive.tries > 9, `${archive.tries} tries`);
  assert.deepEqual([told.length, markers.pending], [1, 0]);
  markers.raise({ room: "r", user: "u", read: 2, readCount: 2, delivered: 2 });
  await outage();
  assert.deepEqual([told.length, markers.pending], [2, 0]);
});
