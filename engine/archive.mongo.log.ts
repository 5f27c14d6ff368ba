/** The logs of the MongoDB archive: entries, and what became of them. */
import { type Collection, type Db, MongoBulkWriteError } from "mongodb";
import { itemBytes } from "../actors/archive.page.ts";
import type { Head, InsertOutcome, PageQuery, Standing } from "../actors/archive.ts";
import { StoreFailure } from "../actors/codes.ts";
import type { ArchivedEntry, Entry, Fate } from "../actors/entry.ts";
import { checkDocument } from "./archive.mongo.check.ts";
import {
  type EntryDocument,
  entryDocument,
  entryId,
  entryRange,
  fateDocument,
  offsetOf,
  readArchived,
  readEntry,
} from "./archive.mongo.codec.ts";

/** Documents of one batch, and bytes of a page for each of them: large ones come a few at a time. */
const BATCH_MOST = 32;
const BATCH_SHARE_BYTES = 131_072;

function batchFor(bytes: number): number {
  return Math.min(BATCH_MOST, Math.max(1, Math.floor(bytes / BATCH_SHARE_BYTES)));
}

/** Updates of one command: edited bodies may be large, and a slow server is waited for less. */
const FATES_MOST = 32;

/** Code of a server's answer that an `_id` is taken. */
export const DUPLICATE_KEY = 11_000;

/** The entries. Reads and writes take read and write concern, time-outs and pool from the client. */
export class EntryLog {
  readonly #entries: Collection<EntryDocument>;

  constructor(db: Db) {
    this.#entries = db.collection<EntryDocument>("entries");
  }

  /** See `Archive.insert`. Rejects with whatever the driver says when the outcome is unclear. */
  async insert(entries: readonly Entry[]): Promise<InsertOutcome> {
    if (entries.length === 0) return { stored: 0, conflict: false };
    try {
      const { insertedCount } = await this.#entries.insertMany(entries.map(entryDocument), { ordered: true });
      if (insertedCount === entries.length) return { stored: insertedCount, conflict: false };
      throw new StoreFailure(`MongoDB stored ${insertedCount} of ${entries.length} entries and named no reason.`);
    } catch (error) {
      return { stored: firstTaken(error), conflict: true };
    }
  }

  async head(room: string): Promise<Head | undefined> {
    const [last] = await this.#entries
      .find({ _id: entryRange(room) }, { projection: { term: 1, count: 1, at: 1 } })
      .sort({ _id: -1 })
      .limit(1)
      .toArray();
    if (!last) return undefined;
    checkDocument("heads", last);
    return { offset: offsetOf(last._id), term: last.term, count: last.count, at: last.at };
  }

  async standing(places: readonly Pick<Standing, "room" | "offset">[]): Promise<readonly Standing[]> {
    if (places.length === 0) return [];
    const found = await this.#entries
      .find(
        { _id: { $in: places.map(({ room, offset }) => entryId(room, offset)) } },
        { projection: { room: 1, term: 1, key: 1 } },
      )
      .toArray();
    return found.map((document) => {
      checkDocument("standing", document);
      const { _id, room, term, key } = document;
      return { room, offset: offsetOf(_id), term, key };
    });
  }

  /**
   * A page with a bound in bytes is read in batches of a size that fits it, and no further: MongoDB knows only a
   * number of documents, and 16 MiB for an answer.
   */
  async page(room: string, { after, before, limit, bytes, end }: PageQuery): Promise<ArchivedEntry[]> {
    // A limit of 0 means "no limit" to MongoDB.
    if (limit <= 0) return [];
    const cursor = this.#entries
      .find({ _id: entryRange(room, after, before) })
      .sort({ _id: end === "first" ? 1 : -1 })
      .limit(limit);
    const found: ArchivedEntry[] = [];
    if (bytes === undefined) found.push(...(await cursor.map(readArchived).toArray()));
    else {
      let read = 0;
      // Leaving the loop closes the cursor.
      for await (const document of cursor.batchSize(batchFor(bytes))) {
        const item = readArchived(document);
        found.push(item);
        read += itemBytes(item);
        if (read >= bytes) break;
      }
    }
    return end === "first" ? found : found.reverse();
  }

  /** By the index (room, sender, key). */
  async byKey(room: string, sender: string, key: string): Promise<Entry | undefined> {
    const [last] = await this.#entries.find({ room, sender, key }).sort({ _id: -1 }).limit(1).toArray();
    return last && readEntry(last);
  }

  /** By the index (room, at, _id). */
  async offsetAt(room: string, atMs: number): Promise<number> {
    const [first] = await this.#entries
      .find({ room, at: { $gte: atMs } }, { projection: { _id: 1 } })
      .sort({ at: 1, _id: 1 })
      .limit(1)
      .toArray();
    if (first) return offsetOf(first._id);
    return ((await this.head(room))?.offset ?? 0) + 1;
  }

  /** Notes what became of entries, each only over a lower rev; no two of one entry. */
  async fates(fates: readonly { room: string; offset: number; fate: Fate }[]): Promise<void> {
    for (let at = 0; at < fates.length; at += FATES_MOST) {
      await this.#entries.bulkWrite(
        fates.slice(at, at + FATES_MOST).map(({ room, offset, fate }) => ({
          updateOne: {
            filter: { _id: entryId(room, offset), rev: { $not: { $gte: fate.rev } } },
            update: { $set: { rev: fate.rev, fate: fateDocument(fate) } },
          },
        })),
        { ordered: false },
      );
    }
  }
}

/**
 * How many entries an ordered insert stored before it met one at the next one's place. Throws the error when
 * it says anything else, or says beside it that what was stored may not stay (a write-concern error).
 */
function firstTaken(error: unknown): number {
  if (!(error instanceof MongoBulkWriteError)) throw error;
  const [first, ...more] = [error.writeErrors].flat();
  if (!first || first.code !== DUPLICATE_KEY || more.length > 0) throw error;
  if (error.result.getWriteConcernError() !== undefined || error.insertedCount !== first.index) throw error;
  return first.index;
}
