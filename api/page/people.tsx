/** Who is in the room now, and who belongs to it. */
import type { JSX, RefObject } from "preact";
import { useEffect, useState } from "preact/hooks";
import { Dialog } from "./dialog.tsx";
import { UserSearch } from "./finding.tsx";
import type { Member } from "./shapes.ts";
import type { Room, State } from "./store.ts";
import { useDesk, useTask } from "./use.ts";
import { counted, hueOf, initials } from "./words.ts";

interface PeopleProps {
  readonly state: State;
  /** The button that hides the column. */
  readonly close: RefObject<HTMLButtonElement | null>;
  readonly onClose: () => void;
}

/** The column of those present. */
export function People({ state, close, onClose }: PeopleProps): JSX.Element {
  const { here, typing, count } = state.people;
  const users = [...here].sort(([, a], [, b]) => a.localeCompare(b));
  return (
    <aside class="people" aria-label="Who is here">
      <header>
        <h2>{counted(count, "person").replace("persons", "people")} here</h2>
        <button ref={close} type="button" class="quiet" onClick={onClose} aria-label="Hide who is here">
          ✕
        </button>
      </header>
      <ul>
        {users.map(([id, name]) => (
          <li key={id}>
            <span class={`sign hue-${hueOf(id)}`} aria-hidden="true">
              {initials(name)}
            </span>
            <span class="person">
              {name}
              {id === state.user?.id && " (you)"}
            </span>
            {typing.has(id) && <span class="hint">typing…</span>}
          </li>
        ))}
      </ul>
      {count > users.length && <p class="hint">and {count - users.length} more</p>}
    </aside>
  );
}

/** The members of a room; its admins may add and remove. */
export function Members({ room, onClose }: { room: Room; onClose: () => void }): JSX.Element {
  const desk = useDesk();
  const [members, setMembers] = useState<readonly Member[]>([]);
  const { busy, problem, run } = useTask();
  const own = desk.store.state.user?.id;
  const admin = room.role === "admin";
  const reload = async () => setMembers((await desk.members(room.id)).filter((member) => member.role !== "none"));
  useEffect(() => run(reload), [room.id]);
  const change = (task: () => Promise<void>) =>
    run(async () => {
      await task();
      await reload();
    });
  return (
    <Dialog title={`Members of ${room.name}`} onClose={onClose}>
      <div role="alert">{problem && <p class="problem">{problem}</p>}</div>
      <ul class="found">
        {members.map((member) => (
          <li key={member.user}>
            <span>
              {member.name}
              {member.user === own && " (you)"}
              {member.role === "admin" && <span class="hint"> admin</span>}
            </span>
            {admin && member.user !== own && (
              <button
                type="button"
                disabled={busy}
                onClick={() => change(() => desk.removeMember(room.id, member.user))}
              >
                Remove<span class="hidden"> {member.name}</span>
              </button>
            )}
          </li>
        ))}
      </ul>
      {admin && (
        <UserSearch action="Add" busy={busy} onChoose={(user) => change(() => desk.addMember(room.id, user.id))} />
      )}
    </Dialog>
  );
}
