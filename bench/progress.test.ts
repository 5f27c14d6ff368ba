import assert from "node:assert/strict";
import { test } from "node:test";
import { Progress } from "./progress.ts";

function written(isTTY: boolean): string {
  let text = "";
  let now = 0;
  const progress = new Progress({ isTTY, write: (more: string) => (text += more) }, () => now);
  progress.show("fanout: window 1");
  now = 61_000;
  progress.show("fanout: window 16");
  progress.say("a word");
  progress.end();
  return text;
}

test("On a terminal the line is rewritten in place, and nothing of it is left.", () => {
  const clear = "\r\x1b[K";
  assert.equal(written(true), `${clear}0:00 fanout: window 1${clear}1:01 fanout: window 16${clear}a word\n${clear}`);
});

test("Elsewhere each line is written once, with a line end and no control characters.", () => {
  assert.equal(written(false), "0:00 fanout: window 1\n1:01 fanout: window 16\na word\n");
});
