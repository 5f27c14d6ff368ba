/** Where one writes: Enter sends, Shift+Enter begins a new line. */
import type { JSX } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { useDesk } from "./use.ts";

const IDLE_MS = 3_000; // without a key for this long one no longer types
const LONGEST = 50_000; // UTF-16 units

/** A new `client-message-id`: 128 random bits. Not `randomUUID`, which plain HTTP does not have. */
function newId(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Grows a text field with its lines, up to the style sheet's limit. */
function grow(field: HTMLTextAreaElement): void {
  field.style.height = "auto";
  field.style.height = `${field.scrollHeight + 2}px`;
}

/** Whether a key event means "done with this text". */
export function isDone(event: KeyboardEvent): boolean {
  return event.key === "Enter" && !event.shiftKey && !event.isComposing;
}

/** The message field of a room. `onSent` is called after each message. */
export function Composer({ room, name, onSent }: { room: string; name: string; onSent: () => void }): JSX.Element {
  const desk = useDesk();
  const [text, setText] = useState("");
  const field = useRef<HTMLTextAreaElement>(null);
  const idle = useRef<ReturnType<typeof setTimeout>>(undefined);
  // With the field, not later, when one may be typing elsewhere.
  useLayoutEffect(() => {
    if (matchMedia("(hover: hover)").matches) field.current?.focus();
    return () => clearTimeout(idle.current);
  }, []);
  useEffect(() => {
    if (field.current !== null) grow(field.current);
  }, [text]);
  const still = () => {
    clearTimeout(idle.current);
    desk.around.typing(false);
  };
  const input = (next: string) => {
    setText(next);
    if (next.trim() === "") return still();
    desk.around.typing(true);
    clearTimeout(idle.current);
    idle.current = setTimeout(still, IDLE_MS);
  };
  const send = () => {
    if (text.trim() === "") return;
    if (!desk.sending.write(room, { id: newId(), body: text })) {
      return desk.say("Too many messages are waiting to be sent. Wait until they are stored, or discard some.");
    }
    still();
    setText("");
    onSent();
    field.current?.focus();
  };
  return (
    <form
      class="composer"
      onSubmit={(event) => {
        event.preventDefault();
        send();
      }}
    >
      <label class="hidden" for="message">
        Message to {name}
      </label>
      <textarea
        id="message"
        ref={field}
        rows={1}
        value={text}
        maxLength={LONGEST}
        placeholder={`Message to ${name}`}
        aria-describedby="composer-help"
        onInput={(event) => input(event.currentTarget.value)}
        onBlur={still}
        onKeyDown={(event) => {
          if (!isDone(event)) return;
          event.preventDefault();
          send();
        }}
      />
      <span id="composer-help" class="hidden">
        Enter sends, Shift and Enter begin a new line.
      </span>
      <button type="submit" class="primary" disabled={text.trim() === ""}>
        Send
      </button>
    </form>
  );
}

/** A message being changed: Enter saves, Escape leaves it as it was. */
export function Editor(props: { text: string; onSave: (text: string) => void; onClose: () => void }): JSX.Element {
  const [text, setText] = useState(props.text);
  const field = useRef<HTMLTextAreaElement>(null);
  useLayoutEffect(() => field.current?.focus(), []);
  useEffect(() => {
    if (field.current !== null) grow(field.current);
  }, [text]);
  const save = () => {
    if (text.trim() === "") return;
    if (text !== props.text) props.onSave(text);
    props.onClose();
  };
  return (
    <form
      class="editor"
      onSubmit={(event) => {
        event.preventDefault();
        save();
      }}
    >
      <textarea
        ref={field}
        rows={1}
        value={text}
        maxLength={LONGEST}
        aria-label="Change the message"
        onInput={(event) => setText(event.currentTarget.value)}
        onKeyDown={(event) => {
          if (event.key === "Escape" && !event.isComposing) {
            event.preventDefault();
            props.onClose();
          }
          if (!isDone(event)) return;
          event.preventDefault();
          save();
        }}
      />
      <button type="submit" class="small">
        Save
      </button>
      <button type="button" class="quiet small" onClick={props.onClose}>
        Cancel
      </button>
    </form>
  );
}
