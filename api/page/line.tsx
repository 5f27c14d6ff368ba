/** One message: who, when, what, and what may be done with it. User text is text and never anything else. */
import type { JSX, RefObject } from "preact";
import { useLayoutEffect, useRef, useState } from "preact/hooks";
import { Editor } from "./composer.tsx";
import { Dialog } from "./dialog.tsx";
import type { Outgoing } from "./log.ts";
import { explain } from "./session.ts";
import type { LogEntry } from "./shapes.ts";
import { binaryText } from "./store.ts";
import { useDesk, useTask } from "./use.ts";
import { hueOf, initials, timeText } from "./words.ts";

const REACTIONS = ["👍", "❤️", "😂", "🎉", "😮", "😢"];
const CLIPPED = 4_000; // characters shown of a long text until it is opened

/** What a line shows. */
export interface LineProps {
  readonly entry: LogEntry;
  readonly user: string;
  /** May delete others' messages. */
  readonly admin: boolean;
  /** The first of several by one sender. */
  readonly first: boolean;
  /** Its state on the way, if it is an own one without a receipt. */
  readonly own: Outgoing | undefined;
  /** Somebody else has read it. */
  readonly seen: boolean;
  readonly nameOf: (user: string) => string;
}

/** A message of the log. */
export function Line(props: LineProps): JSX.Element {
  const { entry, user, first } = props;
  const desk = useDesk();
  const [editing, setEditing] = useState(false);
  const toggle = useRef<HTMLButtonElement>(null);
  const edited = useRef(false);
  useLayoutEffect(() => {
    if (edited.current) toggle.current?.focus(); // the field that had the focus is gone
    edited.current = editing;
  }, [editing]);
  const mine = entry.sender === user;
  const save = (text: string) => {
    desk.editMessage(entry.offset, text).catch((error: unknown) => desk.say(explain(error)));
  };
  return (
    <li class={`line ${mine ? "mine" : ""} ${first ? "first" : ""}`} data-key={entry.offset}>
      {first && <Sender id={entry.sender} name={mine ? "You" : entry.senderName} />}
      <div class="bubble">
        {editing ? (
          <Editor text={entry.text ?? ""} onSave={save} onClose={() => setEditing(false)} />
        ) : (
          <Body entry={entry} />
        )}
        <span class="foot">
          {entry.edited && !entry.deleted && <span>edited</span>}
          <time dateTime={new Date(entry.at).toISOString()}>{timeText(entry.at)}</time>
          {mine && <Mark own={props.own} seen={props.seen} />}
        </span>
      </div>
      {!entry.deleted && !editing && <Actions {...props} toggle={toggle} mine={mine} onEdit={() => setEditing(true)} />}
      <Reactions {...props} />
      {props.own?.state === "failed" && <Failed own={props.own} />}
    </li>
  );
}

/** An own message that is not in the log yet. */
export function Waiting({ own, first }: { own: Outgoing; first: boolean }): JSX.Element {
  return (
    <li class={`line mine waiting ${own.state} ${first ? "first" : ""}`} data-id={own.id}>
      {first && <Sender id="" name="You" />}
      <div class="bubble">
        <Text text={own.body} />
        <span class="foot">
          <time dateTime={new Date(own.at).toISOString()}>{timeText(own.at)}</time>
          <Mark own={own} seen={false} />
        </span>
      </div>
      {own.state === "failed" && <Failed own={own} />}
    </li>
  );
}

function Sender({ id, name }: { id: string; name: string }): JSX.Element {
  return (
    <h3 class="sender">
      <span class={`sign hue-${hueOf(id)}`} aria-hidden="true">
        {initials(name)}
      </span>
      {name}
    </h3>
  );
}

function Body({ entry }: { entry: LogEntry }): JSX.Element {
  if (entry.deleted) return <p class="text faint">Message deleted</p>;
  if (entry.text === undefined) return <p class="text faint">{binaryText(entry.bytes)}</p>;
  return <Text text={entry.text} />;
}

function Text({ text }: { text: string }): JSX.Element {
  const [whole, setWhole] = useState(text.length <= CLIPPED);
  return (
    <p class="text" dir="auto">
      {whole ? text : `${text.slice(0, CLIPPED)}…`}
      {!whole && (
        <button type="button" class="link" onClick={() => setWhole(true)}>
          Show all
        </button>
      )}
    </p>
  );
}

function Mark({ own, seen }: { own: Outgoing | undefined; seen: boolean }): JSX.Element {
  const state = own === undefined || own.state === "stored" ? (seen ? "seen" : "stored") : own.state;
  const words = { pending: "Sending", failed: "Not sent", stored: "Stored", seen: "Seen" }[state];
  const sign = { pending: "◌", failed: "!", stored: "✓", seen: "✓✓" }[state];
  return (
    <span class={`mark ${state}`} title={words}>
      <span aria-hidden="true">{sign}</span>
      <span class="hidden">{words}</span>
    </span>
  );
}

function Failed({ own }: { own: Outgoing }): JSX.Element {
  const desk = useDesk();
  const room = desk.store.state.open ?? "";
  return (
    <p class="failed">
      <span>Not sent. {own.reason}</span>
      <button type="button" class="small" onClick={() => desk.sending.resend(room, own.id)}>
        Resend
      </button>
      <button type="button" class="quiet small" onClick={() => desk.sending.discard(room, own.id)}>
        Discard
      </button>
    </p>
  );
}

interface ActionsProps extends LineProps {
  /** The button that shows and hides them. */
  readonly toggle: RefObject<HTMLButtonElement | null>;
  readonly mine: boolean;
  readonly onEdit: () => void;
}

function Actions(props: ActionsProps): JSX.Element {
  const { entry, user, toggle, mine, admin, onEdit } = props;
  const desk = useDesk();
  const [open, setOpen] = useState(false);
  const [deleting, setDeleting] = useState(false);
  const act = (action: () => void) => {
    setOpen(false);
    toggle.current?.focus(); // the chosen one is gone with the menu; a dialog gives the focus back here
    action();
  };
  const closeOnEscape = (event: KeyboardEvent) => {
    if (event.key !== "Escape" || !open) return;
    event.preventDefault();
    setOpen(false);
    toggle.current?.focus();
  };
  return (
    <div class={`actions ${open ? "open" : ""}`}>
      <button
        ref={toggle}
        type="button"
        class="quiet small"
        aria-expanded={open}
        onClick={() => setOpen(!open)}
        onKeyDown={closeOnEscape}
      >
        <span aria-hidden="true">⋯</span>
        <span class="hidden">Actions on the message of {timeText(entry.at)}</span>
      </button>
      {open && (
        <fieldset class="menu" aria-label="Actions" onKeyDown={closeOnEscape}>
          {REACTIONS.map((reaction) => {
            const on = entry.reactions[reaction]?.includes(user) ?? false;
            const react = () => act(() => void desk.react(entry.offset, reaction, !on));
            return (
              <button key={reaction} type="button" class="quiet" aria-pressed={on} onClick={react}>
                {reaction}
              </button>
            );
          })}
          {mine && entry.text !== undefined && (
            <button type="button" onClick={() => act(onEdit)}>
              Edit
            </button>
          )}
          {(mine || admin) && (
            <button type="button" onClick={() => act(() => setDeleting(true))}>
              Delete
            </button>
          )}
        </fieldset>
      )}
      {deleting && <Delete offset={entry.offset} onClose={() => setDeleting(false)} />}
    </div>
  );
}

function Delete({ offset, onClose }: { offset: number; onClose: () => void }): JSX.Element {
  const desk = useDesk();
  const { busy, problem, run } = useTask();
  const cancel = useRef<HTMLButtonElement>(null);
  useLayoutEffect(() => cancel.current?.focus(), []);
  const remove = () =>
    run(async () => {
      await desk.deleteMessage(offset);
      onClose();
    });
  return (
    <Dialog title="Delete the message?" onClose={onClose}>
      <div role="alert">{problem && <p class="problem">{problem}</p>}</div>
      <p>Nobody will be able to read it any more.</p>
      <div class="choices">
        <button type="button" class="primary" disabled={busy} onClick={remove}>
          Delete
        </button>
        <button ref={cancel} type="button" onClick={onClose}>
          Cancel
        </button>
      </div>
    </Dialog>
  );
}

function Reactions({ entry, user, nameOf }: LineProps): JSX.Element | null {
  const desk = useDesk();
  const given = Object.entries(entry.reactions);
  if (given.length === 0) return null;
  return (
    <div class="reactions">
      {given.map(([reaction, users]) => {
        const on = users.includes(user);
        const names = users.slice(0, 20).map(nameOf).join(", ");
        return (
          <button
            key={reaction}
            type="button"
            class="small"
            aria-pressed={on}
            title={names}
            onClick={() => void desk.react(entry.offset, reaction, !on)}
          >
            {reaction} {users.length}
          </button>
        );
      })}
    </div>
  );
}
