/** A dialog over the page: the browser's own, so that focus stays in it and Escape closes it. */
import type { ComponentChildren, JSX } from "preact";
import { useLayoutEffect, useRef } from "preact/hooks";

let made = 0;

/** Shows its children in a modal dialog until `onClose` takes it away. */
export function Dialog(props: { title: string; onClose: () => void; children: ComponentChildren }): JSX.Element {
  const { title, onClose, children } = props;
  const box = useRef<HTMLDialogElement>(null);
  const id = useRef("");
  if (id.current === "") id.current = `dialog-${++made}`;
  const gone = useRef(false);
  useLayoutEffect(() => {
    const dialog = box.current;
    const before = document.activeElement;
    dialog?.showModal();
    dialog?.querySelector<HTMLElement>("input, textarea")?.focus();
    return () => {
      gone.current = true;
      dialog?.close(); // while it is open nothing behind it takes the focus
      if (before instanceof HTMLElement) before.focus();
    };
  }, []);
  const outside = (event: MouseEvent) => {
    if (event.target === box.current) onClose();
  };
  // Gone from the state first and from the document with it, not the other way round.
  const cancelled = (event: Event) => {
    event.preventDefault();
    onClose();
  };
  const closed = () => {
    if (!gone.current) onClose();
  };
  return (
    // biome-ignore lint/a11y/useKeyWithClickEvents: Escape is the keyboard's way out, the click is the pointer's.
    <dialog ref={box} aria-labelledby={id.current} onCancel={cancelled} onClose={closed} onClick={outside}>
      <div class="dialog">
        <header>
          <h2 id={id.current}>{title}</h2>
          <button type="button" class="quiet" onClick={onClose} aria-label="Close">
            ✕
          </button>
        </header>
        {children}
      </div>
    </dialog>
  );
}
