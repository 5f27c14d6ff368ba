/** Characters for property tests, of all there are. */
import fc from "fast-check";

const POINTS = 0x110000;
const SURROGATES = { first: 0xd800, count: 0x800 } as const;

/**
 * Any code point as a string, control characters and astral planes included, lone surrogates left out (they are no
 * UTF-8): the unit of `fc.string`. As fast-check's own `binary`, but what it is made of is computed, where that one
 * keeps a table of a million strings, which costs 0.7 s in each process.
 */
export const codePoint: fc.Arbitrary<string> = fc.nat({ max: POINTS - SURROGATES.count - 1 }).map(
  (at) => String.fromCodePoint(at < SURROGATES.first ? at : at + SURROGATES.count),
  (unit) => {
    const at = typeof unit === "string" ? (unit.codePointAt(0) ?? -1) : -1;
    if (at < 0 || unit !== String.fromCodePoint(at)) throw new TypeError("not one code point");
    if (at < SURROGATES.first) return at;
    if (at < SURROGATES.first + SURROGATES.count) throw new TypeError("a lone surrogate");
    return at - SURROGATES.count;
  },
);
