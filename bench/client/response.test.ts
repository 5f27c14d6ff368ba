import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { ResponseReader } from "./response.ts";

test("Any split of any stream of responses gives each status once, in order.", () => {
  const response = fc.tuple(fc.constantFrom(200, 204, 404, 503), fc.integer({ min: 0, max: 300 }));
  const cuts = fc.array(fc.integer({ min: 1, max: 80 }), { minLength: 1, maxLength: 20 });
  fc.assert(
    fc.property(fc.array(response, { minLength: 1, maxLength: 8 }), cuts, (responses, steps) => {
      const stream = Buffer.from(
        responses
          .map(
            ([status, size]) => `HTTP/1.1 ${status} Word\r\nContent-Length: ${size}\r\nx: y\r\n\r\n${"b".repeat(size)}`,
          )
          .join(""),
      );
      const seen: number[] = [];
      const reader = new ResponseReader((status) => seen.push(status));
      for (let at = 0, k = 0; at < stream.length; k += 1) {
        const size = steps[k % steps.length] ?? 1;
        reader.take(stream.subarray(at, at + size));
        at += size;
      }
      assert.deepEqual(
        seen,
        responses.map(([status]) => status),
      );
    }),
  );
});

test("A response whose end cannot be known is refused.", () => {
  const reader = new ResponseReader(() => undefined);
  assert.throws(
    () => reader.take(Buffer.from("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")),
    /without a length/,
  );
  assert.throws(() => new ResponseReader(() => undefined).take(Buffer.alloc(20_000, "x")), /no end/);
});
