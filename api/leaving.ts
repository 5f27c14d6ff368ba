/**
 * What a user leaves behind in rooms when the account is deleted (design 4): membership ends in all but direct rooms,
 * which keep their two users, and what was written stays.
 */
import type { Caller, Chat, Page, PageOf, RoomView } from "../actors/chat.ts";
import { Refusal } from "../actors/codes.ts";

/** Rooms or members asked for at once. */
const PAGE = 100;

/** What is asked of the chat for it. */
export type Leavable = Pick<Chat, "myRooms" | "members" | "leave" | "deleteRoom">;

/**
 * Ends the caller's membership everywhere; a private room with nobody else in it is deleted. Refuses with
 * `last-admin`, and nothing is done, while others are in a private room whose only admin the caller is. After a
 * failure in between it can be called again.
 */
export async function leaveRooms(chat: Leavable, caller: Caller): Promise<void> {
  const rooms: RoomView[] = [];
  for await (const room of all((page) => chat.myRooms(caller, page))) if (room.type !== "direct") rooms.push(room);
  const alone = new Set<string>();
  for (const { id, type, role } of rooms) {
    if (type === "private" && role === "admin" && (await isAlone(chat, caller, id))) alone.add(id);
  }
  for (const { id } of rooms) await (alone.has(id) ? chat.deleteRoom(caller, id) : chat.leave(caller, id));
}

/** Whether nobody else is in a room; refuses when others are, and no admin among them. */
async function isAlone(chat: Leavable, caller: Caller, room: string): Promise<boolean> {
  let others = false;
  for await (const { user, role } of all((page) => chat.members(caller, room, page))) {
    if (user === caller.id) continue;
    if (role === "admin") return false;
    others = true;
  }
  if (others) throw new Refusal("last-admin", `Give the room ${room} another admin, or delete it, first.`);
  return true;
}

/** All of a list that comes in pages. */
async function* all<T>(ask: (page: PageOf) => Promise<Page<T>>): AsyncGenerator<T> {
  for (let cursor: string | undefined; ; ) {
    const { items, next } = await ask({ cursor, limit: PAGE });
    yield* items;
    if (next === undefined) return;
    cursor = next;
  }
}
