import assert from "node:assert/strict";
import { test } from "node:test";
import { sampleEntry } from "./archive.conformance.samples.ts";
import type { Entry } from "./entry.ts";
import { deletionDraft, fateAfter, reactionDraft, usersOf, withoutDeleted } from "./fate.ts";

const text = (body: string): Uint8Array => new TextEncoder().encode(body);

function about(offset: number, draft: Partial<Entry>): Entry {
  return { ...sampleEntry("room", offset), ...draft, offset };
}

test("A reaction may be any word, those that every object has by itself too.", () => {
  for (const reaction of ["constructor", "__proto__", "toString", "👍"]) {
    assert.deepEqual(usersOf(undefined, reaction), []);
    const first = fateAfter(
      { rev: 1, reactions: { other: ["bob"] } },
      about(2, reactionDraft(1, { reaction, on: true })),
    );
    const [user] = usersOf(first, reaction);
    assert.equal(user, about(2, {}).sender);
    const back = fateAfter(first, about(3, reactionDraft(1, { reaction, on: false })));
    assert.deepEqual(usersOf(back, reaction), []);
    assert.deepEqual(usersOf(back, "other"), ["bob"]);
  }
});

test("What was deleted is not replayed, and neither are its edits.", () => {
  const entries = [
    about(1, { event: "message", body: text("secret"), ref: 0 }),
    about(2, { event: "edited", body: text("secret too"), ref: 1 }),
    about(3, { event: "message", body: text("kept"), ref: 0 }),
    about(4, deletionDraft(1)),
  ];
  const shown = withoutDeleted(entries).map((entry) => new TextDecoder().decode(entry.body));
  assert.deepEqual(shown, ["", "", "kept", ""]);
});
