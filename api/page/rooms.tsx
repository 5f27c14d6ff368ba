/** The list of rooms, and the ways to get a new one. */
import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { BrowseRooms, NewRoom, StartChat } from "./finding.tsx";
import { explain } from "./session.ts";
import type { Room, State } from "./store.ts";
import { routeTo, useDesk } from "./use.ts";
import { counted, hueOf, initials, whenText } from "./words.ts";

const FIRST_ROOM = "general"; // is always there, and public

type Shown = "new" | "browse" | "chat" | undefined;

/** The column of rooms. */
export function Rooms({ state }: { state: State }): JSX.Element {
  const [shown, setShown] = useState<Shown>(undefined);
  const close = () => setShown(undefined);
  return (
    <nav class="rooms" id="rooms" aria-label="Rooms">
      <div class="rooms-head">
        <h2>Rooms</h2>
        <button type="button" onClick={() => setShown("chat")}>
          New chat
        </button>
        <button type="button" onClick={() => setShown("new")}>
          New room
        </button>
        <button type="button" onClick={() => setShown("browse")}>
          Browse
        </button>
      </div>
      <RoomList state={state} />
      {shown === "new" && <NewRoom onClose={close} />}
      {shown === "browse" && <BrowseRooms onClose={close} rooms={state.rooms} />}
      {shown === "chat" && <StartChat onClose={close} />}
    </nav>
  );
}

function RoomList({ state }: { state: State }): JSX.Element {
  if (!state.roomsLoaded) return <p class="empty">Loading…</p>;
  if (state.rooms.length === 0) {
    return <NoRooms />;
  }
  return (
    <ul>
      {state.rooms.map((room) => (
        <li key={room.id}>
          <RoomLink room={room} open={room.id === state.open} own={state.user?.id} />
        </li>
      ))}
    </ul>
  );
}

/** What a new user sees first: the room that every server has is one step away. */
function NoRooms(): JSX.Element {
  const desk = useDesk();
  const enter = () =>
    desk.join(FIRST_ROOM).then(
      () => {
        location.hash = routeTo(FIRST_ROOM);
      },
      (error: unknown) => desk.say(explain(error)),
    );
  return (
    <div class="empty">
      <p>You are in no room yet. Browse the public rooms, make one, or begin here:</p>
      <button type="button" class="primary" onClick={() => void enter()}>
        Join general
      </button>
    </div>
  );
}

function RoomLink({ room, open, own }: { room: Room; open: boolean; own: string | undefined }): JSX.Element {
  const { last, unread } = room;
  const sign = room.type === "direct" ? initials(room.name) : room.type === "private" ? <Lock /> : "#";
  const who = last === undefined || room.type === "direct" ? "" : `${last.sender === own ? "You" : last.senderName}: `;
  return (
    <a href={routeTo(room.id)} aria-current={open ? "page" : undefined} class={unread > 0 ? "unread" : ""}>
      <span class={`sign hue-${hueOf(room.peer ?? room.id)}`} aria-hidden="true">
        {sign}
      </span>
      <span class="name">{room.name}</span>
      {last !== undefined && <time dateTime={new Date(last.at).toISOString()}>{whenText(last.at, Date.now())}</time>}
      <span class="preview">{last === undefined ? "No messages yet" : `${who}${last.text}`}</span>
      {unread > 0 && (
        <span class="badge">
          <span aria-hidden="true">{unread > 99 ? "99+" : unread}</span>
          <span class="hidden">{counted(unread, "unread message")}</span>
        </span>
      )}
    </a>
  );
}

function Lock(): JSX.Element {
  return (
    <svg viewBox="0 0 16 16" aria-hidden="true">
      <path d="M4 7V5a4 4 0 0 1 8 0v2h1v7H3V7zm2 0h4V5a2 2 0 0 0-4 0z" />
    </svg>
  );
}
