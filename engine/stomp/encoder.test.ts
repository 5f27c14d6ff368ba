import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { describe, it } from "node:test";
import { FrameImpl, Parser } from "@stomp/stompjs";
import fc from "fast-check";
import { codePoint } from "../../actors/text.fixture.ts";
import { assembleFrame, encodeFrame, encodeHeaders, escapeHeader, HEARTBEAT } from "./encoder.ts";
import type { Version } from "./frame.ts";

const NO_BODY = new Uint8Array(0);

describe("The STOMP encoder", () => {
  it("writes command, headers, content-length if there is a body, and NUL.", () => {
    const frame = encodeFrame("MESSAGE", ["subscription", "sub-0", "sender-name", "Zoë"], Buffer.from("hé"), "1.2");
    assert.equal(frame.toString(), "MESSAGE\nsubscription:sub-0\nsender-name:Zoë\ncontent-length:3\n\nhé\0");
    assert.equal(encodeFrame("RECEIPT", ["receipt-id", "1"], NO_BODY, "1.2").toString(), "RECEIPT\nreceipt-id:1\n\n\0");
    assert.deepEqual([...HEARTBEAT], [10]);
  });

  it("escapes by version, and makes harmless what a version cannot say.", () => {
    const nasty = "a\\b:c\nd\re\0f";
    assert.equal(escapeHeader(nasty, "1.2"), "a\\\\b\\cc\\nd\\re f");
    assert.equal(escapeHeader(nasty, "1.1"), "a\\\\b\\cc\\nd e f");
    assert.equal(escapeHeader(nasty, "1.0"), "a\\b:c d e f");
    assert.equal(encodeHeaders(["x:y\n", "a:b"], "1.0"), "x y :a:b\n");
    const plain = "/topic/room.general";
    for (const version of ["1.0", "1.1", "1.2"] as const) assert.equal(escapeHeader(plain, version), plain);
  });

  it("never escapes CONNECTED, and still lets no header break it.", () => {
    const bytes = encodeFrame("CONNECTED", ["user-name", "a\\b:c\nd"], NO_BODY, "1.2");
    assert.equal(bytes.toString(), "CONNECTED\nuser-name:a\\b:c d\n\n\0");
  });

  it("makes the same frame from shared header lines as at once.", () => {
    const headers = ["room", "general", "offset", "7"];
    const body = Buffer.from("hello");
    for (const version of ["1.0", "1.1", "1.2"] as const) {
      const id = escapeHeader("sub:0", version);
      assert.deepEqual(
        assembleFrame(`MESSAGE\nsubscription:${id}\n${encodeHeaders(headers, version)}`, body),
        encodeFrame("MESSAGE", ["subscription", "sub:0", ...headers], body, version),
      );
    }
  });

  it("writes the bytes that stompjs would write, and stompjs reads them.", () => {
    const value = fc.string({ unit: codePoint, minLength: 1, maxLength: 20 }).filter((text) => !text.includes("\0"));
    fc.assert(
      fc.property(
        fc.array(value, { maxLength: 6 }),
        fc.uint8Array({ minLength: 1, maxLength: 200 }),
        (values, body) => {
          // stompjs keeps headers in an object and escapes values only: the names are kept simple.
          const headers = Object.fromEntries(values.map((text, i) => [`name-${i}`, text]));
          const ours = encodeFrame("MESSAGE", Object.entries(headers).flat(), body, "1.2");
          const params = { command: "MESSAGE", headers: { ...headers }, binaryBody: body, escapeHeaderValues: true };
          assert.deepEqual([...ours], [...new Uint8Array(FrameImpl.marshall(params) as ArrayBuffer)]);
          const bodies: number[][] = [];
          const parser = new Parser(
            (raw) => bodies.push([...(raw.binaryBody ?? [])]),
            () => undefined,
          );
          parser.parseChunk(new Uint8Array(ours).buffer);
          assert.deepEqual(bodies, [[...body]]);
        },
      ),
    );
  });

  it("never lets a header end its frame, in any version.", () => {
    const texts = fc.array(fc.string({ unit: codePoint, maxLength: 10 }), { maxLength: 6 });
    fc.assert(
      fc.property(texts, fc.constantFrom<Version>("1.0", "1.1", "1.2"), (list, version) => {
        const headers = list.flatMap((value, i) => [`${value}${i}`, value]);
        const bytes = encodeFrame("MESSAGE", headers, NO_BODY, version);
        assert.equal(bytes.indexOf(0), bytes.length - 1);
        assert.equal(bytes.toString().split("\n").length, 1 + list.length + 2);
      }),
    );
  });
});
