/** What the archive derived from a log against what follows from it (rule 12). */
import { Buffer } from "node:buffer";
import type { MemberRecord } from "../archive.ts";
import type { ArchivedEntry, Fate } from "../entry.ts";
import { fateAfter } from "../fate.ts";
import { memberOf } from "../room.state.ts";

/** How members or what became of messages differ from what the log says; undefined when they do not. */
export function derivedBreach(
  room: string,
  items: readonly ArchivedEntry[],
  members: readonly MemberRecord[],
): string | undefined {
  return membersBreach(room, items, members) ?? fatesBreach(room, items);
}

function membersBreach(
  room: string,
  items: readonly ArchivedEntry[],
  members: readonly MemberRecord[],
): string | undefined {
  const expected = new Map<string, string>();
  for (const { entry } of items) {
    const member = memberOf(entry);
    if (member?.role === "none") expected.delete(member.user);
    else if (member) expected.set(member.user, `${member.user} as ${member.role} since ${member.rev}`);
  }
  const wanted = [...expected.values()].sort().join(", ");
  const there = members.map(({ user, role, rev }) => `${user} as ${role} since ${rev}`);
  const found = there.sort().join(", ");
  return wanted === found ? undefined : `the members of ${room} are stored as ${found}, and are ${wanted}`;
}

function fatesBreach(room: string, items: readonly ArchivedEntry[]): string | undefined {
  const fates = new Map<number, Fate | undefined>();
  for (const { entry } of items) {
    if (entry.ref > 0) fates.set(entry.ref, fateAfter(fates.get(entry.ref), entry));
  }
  for (const { entry, fate } of items) {
    const [wanted, found] = [textOf(fates.get(entry.offset)), textOf(fate)];
    if (wanted !== found) return `what became of ${room}/${entry.offset} is stored as ${found}, and is ${wanted}`;
  }
  return undefined;
}

function textOf(fate: Fate | undefined): string {
  if (!fate) return "nothing";
  const { rev, editedAt, deletedAt, body, reactions } = fate;
  return JSON.stringify({ rev, editedAt, deletedAt, body: body && Buffer.from(body).toString(), reactions });
}
