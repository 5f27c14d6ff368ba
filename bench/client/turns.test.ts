import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Turns } from "./turns.ts";

/** Publishers of the next `count` messages. */
function take(turns: Turns, count: number): (number | undefined)[] {
  return Array.from({ length: count }, () => turns.next());
}

test("A window of as many messages as publishers is one of each, and who is answered is next.", () => {
  const turns = new Turns(3, 3);
  assert.deepEqual(take(turns, 4), [0, 1, 2, undefined]);
  turns.back(1);
  assert.deepEqual(take(turns, 2), [1, undefined]);
});

test("In a smaller window the next is the one whose last message is back for longest.", () => {
  const turns = new Turns(4, 2);
  assert.deepEqual(take(turns, 2), [0, 1]);
  turns.back(1);
  turns.back(0);
  assert.deepEqual(take(turns, 4), [2, 3, 1, 0]);
});

test("In a larger window all have a first message out before any has a second.", () => {
  assert.deepEqual(take(new Turns(2, 4), 5), [0, 1, 0, 1, undefined]);
  assert.deepEqual(take(new Turns(1, 3), 4), [0, 0, 0, undefined]);
});

test("Whoever is answered, the whole window is used and nobody has more than his share outstanding.", () => {
  const answers = fc.array(fc.nat(), { maxLength: 200 });
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 20 }),
      fc.integer({ min: 1, max: 60 }),
      answers,
      (publishers, window, picks) => {
        const turns = new Turns(publishers, window);
        const out: number[] = [];
        const fill = (): void => {
          while (out.length < window) out.push(turns.next() as number);
          for (let one = 0; one < publishers; one += 1)
            assert.ok(out.filter((other) => other === one).length <= Math.ceil(window / publishers));
          assert.ok(!out.includes(undefined as unknown as number));
        };
        fill();
        for (const pick of picks) {
          const [answered] = out.splice(pick % out.length, 1) as [number];
          turns.back(answered);
          fill();
        }
      },
    ),
  );
});
