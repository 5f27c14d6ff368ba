/** What every archive backend must pass: the guarantees of `archive.ts`, as tests. */
import { describe } from "node:test";
import { bounded } from "./archive.conformance.bytes.ts";
import { finding, inserting, reading, roundTrip } from "./archive.conformance.log.ts";
import { converging, deriving, membersAndRooms, rooms } from "./archive.conformance.rooms.ts";
import { ending, markers, terms } from "./archive.conformance.terms.ts";
import type { Archive } from "./archive.ts";

/** Opens an empty archive of its own for each test; the test closes it. */
export type OpenArchive = () => Promise<Archive>;

/** Registers the suite for one backend. `name` heads its titles. */
export function archiveConformance(name: string, open: OpenArchive): void {
  describe(`The ${name} archive`, () => {
    terms(open);
    inserting(open);
    roundTrip(open);
    reading(open);
    bounded(open);
    finding(open);
    deriving(open);
    converging(open);
    rooms(open);
    membersAndRooms(open);
    markers(open);
    ending(open);
  });
}
