/** The destinations of this server; any other is refused (design 3, Destinations). */
import { Refusal } from "../../actors/codes.ts";
import { isRoomId, isUserId } from "../../actors/entry.ts";

/** What a destination names. */
export type Destination =
  /** `topic`: as its MESSAGEs name it, whichever way the client did. */
  | { readonly kind: "room"; readonly room: string; readonly topic: string }
  | { readonly kind: "signals"; readonly room: string }
  | { readonly kind: "typing" | "read"; readonly room: string }
  | { readonly kind: "queue"; readonly user: string }
  | { readonly kind: "errors" }
  | { readonly kind: "refresh" };

/** Destinations of rooms that were read before, by their text; beyond the bound all are forgotten. */
const known = new Map<string, Destination>();
const KNOWN_MOST = 16_384;

const ROOM = /^\/(topic|app)\/room\.([^.]+)(?:\.([a-z]+))?$/;
const QUEUE = "/queue/user.";

/**
 * Reads a destination; `self` is the user that `/user/…` stands for. Throws `bad-destination`. Whoever names a room in
 * the same way gets the same texts, so that subscribers keep one between them.
 */
export function readDestination(text: string, self: string): Destination {
  return known.get(text) ?? readNew(text, self);
}

function readNew(text: string, self: string): Destination {
  if (text === "/user/queue/errors") return ERRORS;
  if (text === "/user/queue/messages") return { kind: "queue", user: self };
  if (text === "/app/auth.refresh") return REFRESH;
  if (text.startsWith(QUEUE)) {
    const user = text.slice(QUEUE.length);
    if (isUserId(user)) return { kind: "queue", user };
    throw unknown(text);
  }
  const destination = readRoom(text);
  if (known.size >= KNOWN_MOST) known.clear();
  known.set(text, destination);
  return destination;
}

function readRoom(text: string): Destination {
  const match = ROOM.exec(text);
  const room = match?.[2];
  if (!match || room === undefined || !isRoomId(room)) throw unknown(text);
  const [, side, , part] = match;
  if (part === undefined) return { kind: "room", room, topic: `/topic/room.${room}` };
  if (side === "topic" && part === "signals") return { kind: "signals", room };
  if (side === "app" && (part === "typing" || part === "read")) return { kind: part, room };
  throw unknown(text);
}

const ERRORS: Destination = Object.freeze({ kind: "errors" });
const REFRESH: Destination = Object.freeze({ kind: "refresh" });

function unknown(text: string): Refusal {
  return new Refusal("bad-destination", JSON.stringify(text.slice(0, 200)));
}
