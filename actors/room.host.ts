/** What a room needs of those around it: its node and its shard. */
import type { Bus } from "./bus.ts";
import type { Counters } from "./counters.ts";
import type { DuplicatesHost } from "./duplicates.ts";
import type { Position } from "./entry.ts";
import type { Foresight } from "./foresight.ts";
import type { LateWrites } from "./late.ts";
import type { Log } from "./log.ts";
import type { Markers } from "./markers.ts";
import type { RoomMarks } from "./marks.ts";
import type { Posting } from "./posting.ts";
import type { RoomPresence } from "./presence.ts";
import type { Room } from "./room.ts";
import type { Writer } from "./writer.ts";

/** What a room needs of its node. */
export interface RoomHost extends DuplicatesHost {
  readonly bus: Bus;
  readonly writer: Writer;
  readonly log: Log;
  readonly markers: Markers;
  readonly counters: Counters;
  /** Told of what is stored of a room that is closed. */
  readonly late: Pick<LateWrites, "stored">;
  /** What was read of rooms before they came here. */
  readonly foresight: Foresight;
  /** A fresh key for an entry that no client named (rule 8). */
  edgeKey(): string;
  presenceOf(room: Room): RoomPresence;
  marksOf(room: Room): RoomMarks;
  /** The room is open. */
  opened(room: Room): void;
  /** The user is now a member of the room. */
  joined(room: Room, user: string): void;
  /** The room is closed and all of it is stored: the hot log need not keep it. */
  putAway(room: Room): void;
  /** The room is closed and must be forgotten. */
  forget(room: Room): void;
}

/** What a room needs of its shard. */
export interface RoomShard {
  readonly id: number;
  readonly term: number;
  readonly lossy: number;
  /** How often its rooms went to another node. */
  readonly yields: number;
  /** Whether this node may decide in the shard now; when it may not, `held` resolves once it may. */
  readonly holds: boolean;
  held(): Promise<void>;
  /** Whether a room that opens at this head must store its first entry before it shows it (step 3 of one SEND). */
  unsealed(room: string, head: Position): boolean;
  /** The awake rooms of the shard. */
  readonly rooms: Set<Room>;
  /** The next number of what is decided here, above all before. */
  rank(): number;
  /** Resolves when the room may be opened. */
  admitted(room: string): Promise<void>;
  /** The room has a pack that must leave at the end of the turn. */
  touch(room: Room): void;
  /** The hot log does not know our writing under `term` any more: own the shard again. */
  lost(term: number, why: string): void;
  /** What was accepted cannot be stored: the room is reopened, and decides it again. */
  conflicted(room: Room, postings: readonly Posting[]): void;
  /** The same for one that nobody was shown: only this room is opened again. */
  reload(room: Room, postings: readonly Posting[]): void;
}
