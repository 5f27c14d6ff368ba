/** For the property test of the promises: what must hold of a log, and of those who were told of it. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import type { Entry, Position } from "./entry.ts";
import type { From } from "./resume.ts";
import { memberChangeOf } from "./room.state.ts";

/** What a subscription has shown so far. */
export interface Stream {
  readonly user: string;
  readonly room: string;
  readonly from: From;
  readonly life: number;
  /** The last entry shown, or where it starts; undefined before the grant. */
  at: Position | undefined;
  /** The head at the grant. */
  granted: Position | undefined;
  resumed: boolean;
  over: boolean;
  readonly shown: Entry[];
}

/** A SEND, and what became of it. */
export interface Asked {
  readonly user: string;
  readonly room: string;
  readonly id: string | undefined;
  readonly body: string;
  readonly level: "stored" | "accepted";
  readonly life: number;
  answers: number;
  stored: Entry | undefined;
}

/** Room, offset and term: what makes an entry the one it is. */
export const place = ({ room, offset, term }: Entry): string => `${room}/${offset}/${term}`;

/** Promise 1: offsets 1 to n, terms that never fall, a chain, times and counts that fit. */
export function checkLog(log: readonly Entry[]): void {
  let before: Entry | undefined;
  for (const [at, entry] of log.entries()) {
    assert.equal(entry.offset, at + 1, "a gap in the log");
    assert.equal(entry.prevTerm, before?.term ?? 0, "a broken chain in the log");
    assert.ok(entry.term >= (before?.term ?? 1), "the term fell");
    assert.ok(entry.at >= (before?.at ?? 0), "the time fell");
    assert.equal(entry.count, (before?.count ?? 0) + (entry.event === "message" ? 1 : 0));
    before = entry;
  }
}

/** Promise 4: an id has one effect, and every retry is answered with its coordinates. */
export function checkOnce(log: readonly Entry[], asked: readonly Asked[]): void {
  const first = new Map<string, Entry>();
  for (const entry of log) {
    const name = `${entry.sender} ${entry.key}`;
    assert.equal(first.has(name), false, `${name} stands twice in ${entry.room}`);
    first.set(name, entry);
  }
  for (const { user, id, stored } of asked) {
    if (id === undefined || !stored) continue;
    assert.equal(place(first.get(`${user} c/${id}`) as Entry), place(stored), "a retry was answered otherwise");
  }
}

/** What one connection sends to one room is logged in the order of its SENDs. */
export function checkOrder(log: readonly Entry[]): void {
  const last = new Map<string, number>();
  for (const entry of log) {
    const said = /^(\d+) (\d+)$/.exec(Buffer.from(entry.body).toString());
    if (!said || entry.event !== "message") continue;
    const [, slot = "", number = ""] = said;
    assert.ok(Number(number) > (last.get(slot) ?? -1), `the order of the SENDs of ${slot}`);
    last.set(slot, Number(number));
  }
}

/** Promise 3: what was receipted is there, with the body of a SEND of this id. */
export function checkStored(log: readonly Entry[], asked: readonly Asked[]): void {
  for (const { stored, id, user, body } of asked) {
    if (!stored) continue;
    const entry = log[stored.offset - 1];
    assert.ok(entry && place(entry) === place(stored), `a receipted message is gone: ${place(stored)}`);
    const there = Buffer.from(entry.body).toString();
    if (id === undefined) assert.equal(there, body);
    else assert.ok(asked.some((one) => one.id === id && one.user === user && one.body === there));
  }
}

/** Promise 1: what was shown is on the log. */
export function checkShown(log: readonly Entry[], stream: Stream, how: { readonly mayBeGone: boolean }): void {
  for (const entry of stream.shown) {
    const there = log[entry.offset - 1];
    const same = there !== undefined && place(there) === place(entry) && there.key === entry.key;
    assert.ok(same || how.mayBeGone, `${place(entry)} was shown and is not on the log`);
  }
}

/** Promise 7: nothing that was logged after a removal was shown to the removed. */
export function checkRemoval(log: readonly Entry[], stream: Stream): void {
  const removed = log.find((entry) => {
    const change = memberChangeOf(entry);
    const gone = change?.change === "removed" || change?.change === "left";
    return gone && change.user === stream.user && entry.offset > (stream.granted?.offset ?? 0);
  });
  if (!removed) return;
  for (const entry of stream.shown)
    assert.ok(entry.offset <= removed.offset, `${stream.user} was shown ${place(entry)} after the removal`);
}
