/** The open room: its head, its messages, who types, and the message field. */
import { Fragment, type JSX, type RefObject } from "preact";
import { useEffect, useMemo, useState } from "preact/hooks";
import { Composer } from "./composer.tsx";
import { Line, Waiting } from "./line.tsx";
import { atStart, attached, type Outgoing, type RoomLog } from "./log.ts";
import { outboxView } from "./outbox.ts";
import { Members } from "./people.tsx";
import { useScroll } from "./scroll.ts";
import { explain } from "./session.ts";
import { type LogEntry, objectOf } from "./shapes.ts";
import { logOf, type Room, type State } from "./store.ts";
import { useDesk, useNow } from "./use.ts";
import { counted, dayText, memberText, sameDay, typingText } from "./words.ts";

const GROUP_MS = 300_000; // messages of one sender within this time stand together

interface RoomProps {
  readonly room: string;
  readonly state: State;
  /** Whether the people are shown. */
  readonly people: boolean;
  /** The button that shows and hides them. */
  readonly button: RefObject<HTMLButtonElement | null>;
  readonly onPeople: () => void;
}

/** The room as a column. */
export function RoomView({ room: id, ...props }: RoomProps): JSX.Element {
  const { state } = props;
  const room = state.rooms.find((one) => one.id === id);
  const name = room?.name ?? id;
  return (
    <section class="room" aria-label={name}>
      <Head {...props} room={room} name={name} />
      <Messages id={id} name={name} admin={room?.role === "admin"} state={state} />
      <Typing state={state} />
    </section>
  );
}

function Head(props: Omit<RoomProps, "room"> & { room: Room | undefined; name: string }): JSX.Element {
  const { room, name, state, people, button, onPeople } = props;
  const desk = useDesk();
  const [members, setMembers] = useState(false);
  const { count } = state.people;
  const leave = async () => {
    if (room === undefined) return;
    await desk.leaveRoom(room.id).then(
      () => {
        location.hash = "";
      },
      (error: unknown) => desk.say(explain(error)),
    );
  };
  const kind = { public: "Public room", private: "Private room", direct: "Private chat" }[room?.type ?? "public"];
  return (
    <header class="room-head">
      <a class="back" href="#rooms" aria-label="Back to the rooms">
        ‹
      </a>
      <div class="title">
        <h2>{name}</h2>
        <p class="hint">
          {kind}
          {count > 0 && ` · ${count} here`}
        </p>
      </div>
      {room?.type === "private" && (
        <button type="button" class="quiet" onClick={() => setMembers(true)}>
          Members
        </button>
      )}
      <button ref={button} type="button" class="quiet" aria-expanded={people} onClick={onPeople}>
        People
      </button>
      {room !== undefined && room.type !== "direct" && room.role !== "none" && (
        <button type="button" class="quiet leave" onClick={() => void leave()}>
          Leave
        </button>
      )}
      {members && room !== undefined && <Members room={room} onClose={() => setMembers(false)} />}
    </header>
  );
}

function Messages(props: { id: string; name: string; admin: boolean; state: State }): JSX.Element {
  const { id, name, admin, state } = props;
  const desk = useDesk();
  const log = logOf(state, id);
  const user = state.user?.id ?? "";
  const seenTo = useMemo(() => highestRead(state, user), [state.people.read, user]);
  const lines = useMemo(
    () => <Lines log={log} user={user} admin={admin} divider={state.divider} seenTo={seenTo} />,
    [log, user, admin, state.divider, seenTo],
  );
  const { box, atBottom, toEnd } = useScroll({
    loaded: log.loaded,
    lines,
    older: () => desk.talk.older(),
    newer: () => desk.talk.newer(),
    looks: (looks) => desk.talk.looks(looks),
  });
  const newest = () => void desk.talk.newest().then(toEnd);
  const sent = () => {
    desk.store.set({ divider: undefined });
    newest();
  };
  const behind = state.rooms.find((room) => room.id === id)?.unread ?? 0;
  return (
    <Fragment>
      <div
        ref={box}
        class="log"
        role="log"
        aria-label={`Messages in ${name}`}
        aria-live={state.paging ? "off" : "polite"}
        aria-busy={!log.loaded}
        // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by keyboard.
        tabIndex={0}
      >
        {!log.loaded && <p class="empty">Loading…</p>}
        {log.loaded && (
          <p class="begin">{atStart(log) ? "The conversation begins here." : "Loading older messages…"}</p>
        )}
        {lines}
      </div>
      <div class="jump">
        {(!atBottom || !attached(log)) && log.loaded && (
          <button type="button" onClick={newest}>
            ↓ Newest{behind > 0 && ` (${counted(behind, "new message")})`}
          </button>
        )}
      </div>
      <Composer room={id} name={name} onSent={sent} />
    </Fragment>
  );
}

function highestRead(state: State, user: string): number {
  let highest = 0;
  for (const [reader, offset] of state.people.read) if (reader !== user) highest = Math.max(highest, offset);
  return highest;
}

interface LinesProps {
  readonly log: RoomLog;
  readonly user: string;
  readonly admin: boolean;
  readonly divider: number | undefined;
  readonly seenTo: number;
}

function Lines({ log, user, admin, divider, seenTo }: LinesProps): JSX.Element {
  const desk = useDesk();
  const nameOf = (id: string) => desk.around.nameOf(id);
  const { marks, below } = outboxView(log, user);
  const rows: JSX.Element[] = [];
  let before: LogEntry | undefined;
  let divided = divider === undefined;
  for (const entry of log.entries) {
    if (entry.event === "member") {
      rows.push(<MemberLine key={entry.offset} entry={entry} nameOf={nameOf} />);
      before = undefined;
    }
    if (entry.event !== "message") continue;
    const newDay = before === undefined ? rows.length === 0 : !sameDay(before.at, entry.at);
    if (newDay) rows.push(<Day key={`day-${entry.offset}`} at={entry.at} />);
    const divides = !divided && entry.offset > (divider ?? 0) && entry.sender !== user;
    if (divides) rows.push(<Divider key="divider" />);
    divided ||= divides;
    const joins = !newDay && !divides && before?.sender === entry.sender && entry.at - before.at < GROUP_MS;
    const own = marks.get(entry.clientMessageId ?? "");
    const seen = seenTo >= entry.offset;
    rows.push(<Line key={entry.offset} {...{ entry, user, admin, own, seen, nameOf }} first={!joins} />);
    before = entry;
  }
  return <ol class="lines">{[...rows, ...waiting(below, before?.sender === user)]}</ol>;
}

function waiting(below: readonly Outgoing[], joins: boolean): JSX.Element[] {
  return below.map((own, at) => <Waiting key={own.id} own={own} first={at === 0 && !joins} />);
}

function Day({ at }: { at: number }): JSX.Element {
  return (
    <li class="day">
      <time dateTime={new Date(at).toISOString()}>{dayText(at, Date.now())}</time>
    </li>
  );
}

function Divider(): JSX.Element {
  return (
    <li class="divider" data-divider="">
      <span>New messages</span>
    </li>
  );
}

function MemberLine({ entry, nameOf }: { entry: LogEntry; nameOf: (id: string) => string }): JSX.Element {
  const { user, change } = objectOf(entry.text);
  const who = typeof user === "string" ? user : entry.sender;
  const name = who === entry.sender ? entry.senderName : (entry.memberName ?? nameOf(who));
  return (
    <li class="member" data-key={entry.offset}>
      {memberText(String(change), entry.senderName, name === who ? "a member" : name)}
    </li>
  );
}

function Typing({ state }: { state: State }): JSX.Element {
  const desk = useDesk();
  const { typing } = state.people;
  const now = useNow(1_000, typing.size > 0);
  useEffect(() => desk.around.expire(now), [desk, now]);
  const names = [...typing.keys()].filter((id) => id !== state.user?.id);
  const text = typingText(names.map((id) => desk.around.nameOf(id)));
  return (
    <p class="typing" aria-live="off">
      {text}
    </p>
  );
}
