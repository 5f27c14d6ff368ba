/** Dialogs that lead to a room: make one, browse the public ones, find somebody to chat with. */
import type { JSX, TargetedSubmitEvent } from "preact";
import { useEffect, useState } from "preact/hooks";
import { Dialog } from "./dialog.tsx";
import { explain } from "./session.ts";
import type { User } from "./shapes.ts";
import type { Room } from "./store.ts";
import { routeTo, useDesk, useTask } from "./use.ts";

const SEARCH_MS = 250; // a search waits this long for the next key

interface Closing {
  readonly onClose: () => void;
}

function go(room: string, close: () => void): void {
  close();
  location.hash = routeTo(room);
}

/** Makes a public or private room. */
export function NewRoom({ onClose }: Closing): JSX.Element {
  const desk = useDesk();
  const { busy, problem, run } = useTask();
  const submit = (event: TargetedSubmitEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    const room = { name: String(form.get("name") ?? "").trim(), type: String(form.get("type") ?? "public") };
    run(async () => go(await desk.createRoom(room), onClose));
  };
  return (
    <Dialog title="New room" onClose={onClose}>
      <form onSubmit={submit}>
        <div role="alert">{problem && <p class="problem">{problem}</p>}</div>
        <label>
          Name
          <input name="name" required maxLength={100} autocomplete="off" />
        </label>
        <fieldset>
          <legend>Who may enter</legend>
          <label class="choice">
            <input type="radio" name="type" value="public" defaultChecked /> Everybody (public)
          </label>
          <label class="choice">
            <input type="radio" name="type" value="private" /> Members only (private)
          </label>
        </fieldset>
        <button type="submit" class="primary" disabled={busy}>
          Make the room
        </button>
      </form>
    </Dialog>
  );
}

/** Lists the public rooms. */
export function BrowseRooms({ onClose, rooms }: Closing & { rooms: readonly Room[] }): JSX.Element {
  const desk = useDesk();
  const [found, setFound] = useState<readonly Room[] | undefined>(undefined);
  const { busy, problem, run } = useTask();
  useEffect(() => run(async () => setFound(await desk.publicRooms())), [desk]);
  const mine = new Set(rooms.map((room) => room.id));
  const join = (room: Room) =>
    run(async () => {
      await desk.join(room.id);
      go(room.id, onClose);
    });
  return (
    <Dialog title="Public rooms" onClose={onClose}>
      <div role="alert">{problem && <p class="problem">{problem}</p>}</div>
      {found === undefined && !problem && <p class="empty">Loading…</p>}
      <ul class="found">
        {found?.map((room) => (
          <li key={room.id}>
            <span>{room.name}</span>
            {mine.has(room.id) ? (
              <button type="button" onClick={() => go(room.id, onClose)}>
                Open<span class="hidden"> {room.name}</span>
              </button>
            ) : (
              <button type="button" disabled={busy} onClick={() => join(room)}>
                Join<span class="hidden"> {room.name}</span>
              </button>
            )}
          </li>
        ))}
      </ul>
    </Dialog>
  );
}

/** Finds a user by name and opens the private chat with them. */
export function StartChat({ onClose }: Closing): JSX.Element {
  const desk = useDesk();
  const { busy, problem, run } = useTask();
  const start = (user: User) =>
    run(async () => go(await desk.createRoom({ type: "direct", members: [user.id] }), onClose));
  return (
    <Dialog title="New private chat" onClose={onClose}>
      <div role="alert">{problem && <p class="problem">{problem}</p>}</div>
      <UserSearch action="Chat" busy={busy} onChoose={start} />
    </Dialog>
  );
}

/** A field to find users by name, and a button for each one found. */
export function UserSearch(props: { action: string; busy: boolean; onChoose: (user: User) => void }): JSX.Element {
  const desk = useDesk();
  const [text, setText] = useState("");
  const [found, setFound] = useState<readonly User[]>([]);
  const [said, setSaid] = useState("");
  const query = text.trim();
  useEffect(() => {
    setSaid("");
    if (query === "") return setFound([]);
    let wanted = true;
    const timer = setTimeout(() => {
      desk.findUsers(query).then(
        (users) => {
          if (!wanted) return;
          setFound(users);
          setSaid(users.length === 0 ? "Nobody of that name." : `${users.length} found.`);
        },
        (error: unknown) => wanted && setSaid(explain(error)),
      );
    }, SEARCH_MS);
    return () => {
      wanted = false;
      clearTimeout(timer);
    };
  }, [desk, query]);
  return (
    <div class="search">
      <label>
        Find by name
        <input type="search" value={text} onInput={(event) => setText(event.currentTarget.value)} autocomplete="off" />
      </label>
      <p class="hint" role="status">
        {said}
      </p>
      <ul class="found">
        {found.map((user) => (
          <li key={user.id}>
            <span>{user.name}</span>
            <button type="button" disabled={props.busy} onClick={() => props.onChoose(user)}>
              {props.action}
              <span class="hidden"> {user.name}</span>
            </button>
          </li>
        ))}
      </ul>
    </div>
  );
}
