import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { describe, it } from "node:test";
import { Parser } from "@stomp/stompjs";
import fc from "fast-check";
import { type CodeWord, Refusal } from "../../actors/codes.ts";
import { codePoint } from "../../actors/text.fixture.ts";
import { encodeFrame } from "./encoder.ts";
import { type Frame, header, type Version } from "./frame.ts";
import { FrameParser } from "./parser.ts";

const LIMITS = { bodyBytes: 4_096, headerBytes: 256, headers: 8, overheadBytes: 1_024 };

interface Heard {
  readonly frames: { readonly command: string; readonly headers: readonly string[]; readonly body: string }[];
  beats: number;
}

/** Reads the pieces with one parser; bodies are copied, as latin1. */
function hear(pieces: readonly (string | Uint8Array)[], version: Version = "1.2", limits = LIMITS): Heard {
  const parser = new FrameParser(limits);
  parser.version = version;
  const heard: Heard = { frames: [], beats: 0 };
  for (const piece of pieces) {
    parser.push(
      Buffer.from(piece),
      ({ command, headers, body }) => {
        heard.frames.push({ command, headers, body: Buffer.from(body).toString("latin1") });
      },
      () => {
        heard.beats += 1;
      },
    );
    assert.ok(parser.heldBytes <= Math.max(limits.headerBytes + 2, limits.bodyBytes));
  }
  return heard;
}

/** The code with which the bytes are refused, or "accepted". */
function verdict(pieces: readonly (string | Uint8Array)[], version: Version = "1.2"): CodeWord | "accepted" {
  try {
    hear(pieces, version);
    return "accepted";
  } catch (fault) {
    assert.ok(fault instanceof Refusal, String(fault));
    return fault.code;
  }
}

/** Cuts bytes where the numbers say. */
function cut(bytes: Uint8Array, places: readonly number[]): Uint8Array[] {
  const marks = [...new Set(places.map((place) => place % (bytes.length + 1)))].sort((a, b) => a - b);
  const pieces: Uint8Array[] = [];
  let from = 0;
  for (const mark of [...marks, bytes.length]) {
    pieces.push(bytes.subarray(from, mark));
    from = mark;
  }
  return pieces;
}

/** Bytes of which some are frames, some nearly, some nothing at all. */
const hostileBytes = fc
  .array(
    fc.oneof(
      fc.uint8Array({ maxLength: 40 }),
      fc.constantFrom("SEND\n", "MESSAGE\r\n", "\n", "\r\n", "\r", "\0", "a:b\n", "a:\\c\n", "a:\\t\n", ":\n", "x\n"),
      fc.constantFrom("content-length:3\n", "content-length:9999999999\n", "content-length:-1\n", "\n\n", "é:ü\n"),
      fc.constantFrom("SEND\na:b\n\nhello\0", "SEND\ncontent-length:3\n\na\0b\0", "b".repeat(300), "a:b\n".repeat(9)),
    ),
    { maxLength: 12 },
  )
  .map((parts) => Buffer.concat(parts.map((part) => Buffer.from(part))));

describe("The STOMP parser", () => {
  it("reads the example frames of the STOMP 1.2 text.", () => {
    const text =
      "CONNECT\naccept-version:1.2\nhost:stomp.github.org\n\n\0" +
      "SEND\ndestination:/queue/a\ncontent-type:text/plain\n\nhello queue a\n\0\n" +
      "SUBSCRIBE\nid:0\ndestination:/queue/foo\nack:client\n\n\0" +
      "MESSAGE\nfoo:World\nfoo:Hello\n\n\0";
    const { frames } = hear([text]);
    assert.deepEqual(
      frames.map((frame) => frame.command),
      ["CONNECT", "SEND", "SUBSCRIBE", "MESSAGE"],
    );
    assert.deepEqual(frames[0]?.headers, ["accept-version", "1.2", "host", "stomp.github.org"]);
    assert.equal(frames[1]?.body, "hello queue a\n");
    assert.equal(header({ ...(frames[3] as Heard["frames"][0]), body: new Uint8Array() }, "foo"), "World");
  });

  it("takes LF and CR LF, and EOLs between frames as signs of life.", () => {
    const frame = "SEND\r\na:1\r\nb:\r\n\r\nbody\r\n\0";
    const heard = hear([`\n\r\n${frame}\r\n\n\n${frame}\n`]);
    assert.equal(heard.beats, 3);
    assert.equal(heard.frames.length, 2);
    assert.deepEqual(heard.frames[1], { command: "SEND", headers: ["a", "1", "b", ""], body: "body\r\n" });
    assert.equal(hear(["\r", "\n", "\n"]).beats, 2);
  });

  it("takes as many bytes as content-length says, NULs included, and the first of two lengths.", () => {
    const frame = "SEND\ncontent-length:5\ncontent-length:1\n\na\0b\0c\0";
    assert.deepEqual(
      hear([frame, frame]).frames.map((each) => each.body),
      ["a\0b\0c", "a\0b\0c"],
    );
  });

  it("unescapes by version, and never in the frames that settle the version.", () => {
    const bytes = ["SEND\nk\\c:a\\n\\c\\\\b:c\n\n\0"];
    assert.deepEqual(hear(bytes, "1.2").frames[0]?.headers, ["k:", "a\n:\\b:c"]);
    assert.deepEqual(hear(bytes, "1.1").frames[0]?.headers, ["k:", "a\n:\\b:c"]);
    assert.deepEqual(hear(bytes, "1.0").frames[0]?.headers, ["k\\c", "a\\n\\c\\\\b:c"]);
    assert.deepEqual(hear(["SEND\na:\\r\n\n\0"], "1.2").frames[0]?.headers, ["a", "\r"]);
    assert.equal(verdict(["SEND\na:\\r\n\n\0"], "1.1"), "bad-escape");
    for (const bad of ["\\t", "\\", "x\\\\\\"]) assert.equal(verdict([`SEND\na:${bad}\n\n\0`]), "bad-escape");
    for (const command of ["CONNECT", "STOMP", "CONNECTED"]) {
      assert.deepEqual(hear([`${command}\npasscode:a\\tb\n\n\0`]).frames[0]?.headers, ["passcode", "a\\tb"]);
    }
  });

  it("obeys a version that is set while a frame is handed out, from the next frame of the same chunk on.", () => {
    const parser = new FrameParser(LIMITS);
    const values: (string | undefined)[] = [];
    parser.push(Buffer.from("CONNECT\n\n\0SEND\na:\\n\n\n\0"), (frame) => {
      parser.version = "1.0";
      values.push(header(frame, "a"));
    });
    assert.deepEqual(values, [undefined, "\\n"]);
  });
});

describe("The STOMP parser's refusals", () => {
  const faults: [CodeWord, string, string | Uint8Array][] = [
    ["bad-frame", "a NUL where a command should be", "\0"],
    ["bad-frame", "a command with a space", "GET / HTTP/1.1\r\n"],
    ["bad-frame", "a command of other bytes", "S\u00c9ND\n"],
    ["bad-frame", "a CR inside the command", "SE\rND\n"],
    ["bad-frame", "an endless command", "S".repeat(40)],
    ["bad-frame", "a header line without colon", "SEND\nab\n\n\0"],
    ["bad-frame", "a header without name", "SEND\n:b\n\n\0"],
    ["bad-frame", "a NUL in the header lines", "SEND\na:b\0"],
    ["bad-frame", "a NUL in a header name", "SEND\na\0"],
    ["bad-frame", "a CR inside a header line", "SEND\na:b\rc\n\n\0"],
    ["bad-frame", "headers that are not UTF-8", Buffer.from("SEND\na:\xff\n\n\0", "latin1")],
    ["bad-frame", "a surrogate in UTF-8", Buffer.from("SEND\na:\xed\xa0\x80\n\n\0", "latin1")],
    ["header-too-long", "a header line over the limit", `SEND\na:${"b".repeat(255)}\n`],
    ["header-too-long", "a header line that never ends", `SEND\n${"b".repeat(258)}`],
    ["too-many-headers", "a header over the limit", `SEND\n${"a:b\n".repeat(9)}`],
    ["frame-too-large", "a head over the limit", `SEND\n${`a:${"b".repeat(250)}\n`.repeat(5)}`],
    ["frame-too-large", "a head over the limit in a line", `SEND\n${`a:${"b".repeat(250)}\n`.repeat(4)}a:bbbbbb`],
    ["body-too-large", "a length over the limit, at once", "SEND\ncontent-length:2147483648\n"],
    ["body-too-large", "a length beyond all numbers", `SEND\ncontent-length:${"9".repeat(200)}\n`],
    ["body-too-large", "a body over the limit", `SEND\n\n${"b".repeat(4_097)}`],
    ["body-too-large", "a whole body over the limit", `SEND\n\n${"b".repeat(4_097)}\0`],
    ["bad-content-length", "an empty length", "SEND\ncontent-length:\n"],
    ["bad-content-length", "a negative length", "SEND\ncontent-length:-1\n"],
    ["bad-content-length", "a length that is no number", "SEND\ncontent-length:1e3\n"],
    ["bad-content-length", "a length too short for the body", "SEND\ncontent-length:2\n\nabc\0"],
    ["bad-content-length", "a length too long for the body", "SEND\ncontent-length:4\n\nabc\0\n"],
  ];
  for (const [code, what, bytes] of faults) {
    it(`refuses ${what} as ${code}, whole or byte by byte.`, () => {
      assert.equal(verdict([bytes]), code);
      assert.equal(verdict([...Buffer.from(bytes)].map((byte) => Uint8Array.of(byte))), code);
    });
  }

  it("accepts what is exactly at each limit, whole or byte by byte.", () => {
    const lines = `a:${"b".repeat(254)}\r\n`.repeat(3) + "c:d\r\n".repeat(5);
    const frame = Buffer.from(`SEND\r\n${lines}\r\n${"b".repeat(4_096)}\0`);
    assert.equal(verdict([frame]), "accepted");
    assert.equal(verdict([...frame].map((byte) => Uint8Array.of(byte))), "accepted");
    assert.equal(hear([frame]).frames.length, 1);
  });
});

describe("The STOMP parser and its callers", () => {
  it("ignores everything after a refusal, a throw of the callback, or stop.", () => {
    const frame = Buffer.from("SEND\n\n\0");
    let count = 0;
    const refused = new FrameParser(LIMITS);
    assert.throws(() => refused.push(Buffer.from("\0"), () => count++), Refusal);
    refused.push(frame, () => count++);
    const thrown = new FrameParser(LIMITS);
    const fault = new Error("of the callback");
    assert.throws(
      () =>
        thrown.push(frame, () => {
          throw fault;
        }),
      fault,
    );
    thrown.push(frame, () => count++);
    assert.equal(count, 0);
    const stopped = new FrameParser(LIMITS);
    stopped.push(Buffer.from("SEND\n\n\0SEND\n\n\0\0garbage"), () => {
      count += 1;
      stopped.stop();
    });
    stopped.push(frame, () => count++);
    assert.equal(count, 1);
    assert.equal(stopped.heldBytes, 0);
  });

  it("hands out a view of the chunk when the frame lies whole in it, also when the chunk is a part of memory.", () => {
    const memory = new Uint8Array(64);
    const bytes = Buffer.from("SEND\n\nabc\0");
    memory.set(bytes, 10);
    let body: Uint8Array | undefined;
    new FrameParser(LIMITS).push(memory.subarray(10, 10 + bytes.length), (frame) => {
      body = frame.body;
    });
    assert.equal(body?.buffer, memory.buffer);
    assert.equal(Buffer.from(body as Uint8Array).toString(), "abc");
  });
});

describe("The STOMP parser under any input", () => {
  it("reads the same from any cutting of the same bytes.", () => {
    const header = fc.tuple(
      fc.string({ unit: codePoint, minLength: 1, maxLength: 9 }).filter((text) => !text.includes("\0")),
      fc.string({ unit: codePoint, maxLength: 20 }).filter((text) => !text.includes("\0")),
    );
    const frame = fc.record({
      command: fc.constantFrom("SEND", "ACK", "NOVEL"),
      headers: fc.array(header, { maxLength: 5 }).map((pairs) => pairs.flat()),
      body: fc.uint8Array({ maxLength: 300 }),
      eols: fc.constantFrom("", "\n", "\r\n\n"),
    });
    const version = fc.constantFrom<Version>("1.1", "1.2");
    const places = fc.array(fc.nat(), { maxLength: 20 });
    fc.assert(
      fc.property(fc.array(frame, { minLength: 1, maxLength: 4 }), version, places, (frames, spoken, marks) => {
        const bytes = Buffer.concat(
          frames.map((each) =>
            Buffer.concat([Buffer.from(each.eols), encodeFrame(each.command, each.headers, each.body, spoken)]),
          ),
        );
        const whole = hear([bytes], spoken);
        assert.deepEqual(hear(cut(bytes, marks), spoken).frames, whole.frames);
        const lossy = (text: string): string => (spoken === "1.2" ? text : text.replaceAll("\r", " "));
        assert.deepEqual(
          whole.frames.map((each) => ({ ...each, headers: withoutLength(each.headers) })),
          frames.map((each) => ({
            command: each.command,
            headers: each.headers.map(lossy),
            body: Buffer.from(each.body).toString("latin1"),
          })),
        );
      }),
    );
  });

  it("answers hostile bytes, cut anyhow, with frames or one Refusal, and holds no more than its bound.", () => {
    fc.assert(
      fc.property(hostileBytes, fc.array(fc.nat(), { maxLength: 20 }), (bytes, marks) => {
        const whole = verdict([bytes]);
        const pieces = verdict(cut(bytes, marks));
        assert.equal(pieces === "accepted", whole === "accepted", `${whole}, but in pieces ${pieces}`);
      }),
      { numRuns: 2_000 },
    );
  });

  it("agrees with stompjs's parser on every input that it accepts.", () => {
    fc.assert(
      fc.property(hostileBytes, (bytes) => {
        if (verdict([bytes], "1.0") !== "accepted") return;
        const theirs: Heard["frames"] = [];
        const parser = new Parser(
          (frame) => {
            const body = Buffer.from(frame.binaryBody ?? []).toString("latin1");
            theirs.push({ command: String(frame.command), headers: frame.headers.flat(), body });
          },
          () => undefined,
        );
        parser.parseChunk(new Uint8Array(bytes).buffer);
        assert.deepEqual(hear([bytes], "1.0").frames, theirs);
      }),
      { numRuns: 2_000 },
    );
  });

  it("copies what it holds only a few times while a body of 1 MiB arrives byte by byte.", () => {
    const parser = new FrameParser({ ...LIMITS, bodyBytes: 1_048_576 });
    const one = Buffer.from("b");
    const sizes = new Set<number>();
    let length = 0;
    const take = (frame: Frame): void => {
      length = frame.body.length;
    };
    parser.push(Buffer.from("SEND\n\n"), take);
    for (let i = 0; i < 1_048_576; i++) {
      parser.push(one, take);
      sizes.add(parser.heldBytes);
    }
    parser.push(Uint8Array.of(0), take);
    assert.equal(length, 1_048_576);
    assert.equal(parser.heldBytes, 0);
    // Doubling from 256 bytes: each size is one copy of what was held.
    assert.ok(sizes.size <= 14, String([...sizes]));
  });
});

/** The headers without the content-length that the encoder added at the end. */
function withoutLength(headers: readonly string[]): readonly string[] {
  return headers.at(-2) === "content-length" ? headers.slice(0, -2) : headers;
}
