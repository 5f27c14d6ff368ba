/** A dialog over the page: the browser's own, so that focus stays in it and Escape closes it. */
import type { ComponentChildren, JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";

let made = 0;

/** Shows its children in a modal dialog until `onClose` takes it away. */
export function Dialog(props: { title: string; onClose: () => void; children: ComponentChildren }): JSX.Element {
  const { title, onClose, children } = props;
  const box = useRef<HTMLDialogElement>(null);
  const id = useRef("");
  if (id.current === "") id.current = `dialog-${++made}`;
  useEffect(() => {
    const before = document.activeElement;
    box.current?.showModal();
    box.current?.querySelector<HTMLElement>("input, textarea")?.focus();
    return () => {
      if (before instanceof HTMLElement && before.isConnected) before.focus();
    };
  }, []);
  const outside = (event: MouseEvent) => {
    if (event.target === box.current) onClose();
  };
  return (
    // biome-ignore lint/a11y/useKeyWithClickEvents: Escape is the keyboard's way out, the click is the pointer's.
    <dialog ref={box} aria-labelledby={id.current} onClose={onClose} onClick={outside}>
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
