/** Hooks that the parts of the page share. */
import { createContext, type RefObject } from "preact";
import { useContext, useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import type { Desk } from "./desk.ts";
import { explain } from "./session.ts";
import type { State, Store } from "./store.ts";

const FRAMELESS_MS = 250; // a page that gets no frames, as it is hidden or covered, draws this often at most

/** The desk of the page. */
export const DeskContext = createContext<Desk | undefined>(undefined);

/** The desk of the page. Throws outside of `App`. */
export function useDesk(): Desk {
  const desk = useContext(DeskContext);
  if (desk === undefined) throw new Error("There is no desk around this component.");
  return desk;
}

/** Draws with the next frame; where the browser has none to give, which it tells nobody, after a while. */
function soon(draw: () => void): void {
  const once = () => {
    cancelAnimationFrame(frame);
    clearTimeout(timer);
    draw();
  };
  const frame = requestAnimationFrame(once);
  const timer = setTimeout(once, FRAMELESS_MS);
}

/** The state; a burst of changes draws once per frame. */
export function useStore(store: Store): State {
  const [state, setState] = useState(store.state);
  useEffect(() => {
    let waiting = false;
    const draw = () => {
      waiting = false;
      setState(store.state);
    };
    const stop = store.listen(() => {
      if (waiting) return;
      waiting = true;
      soon(draw);
    });
    draw();
    return stop;
  }, [store]);
  return state;
}

/** The time, ms since 1970, renewed every `everyMs` while `running`. */
export function useNow(everyMs: number, running: boolean): number {
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    if (!running) return;
    setNow(Date.now());
    const timer = setInterval(() => setNow(Date.now()), everyMs);
    return () => clearInterval(timer);
  }, [everyMs, running]);
  return now;
}

/** A task of a form or button: whether it runs, what went wrong, and the way to run it. */
export function useTask(): { busy: boolean; problem: string; run: (task: () => Promise<void>) => void } {
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState("");
  const run = (task: () => Promise<void>) => {
    if (busy) return;
    setBusy(true);
    setProblem("");
    task()
      .catch((error: unknown) => setProblem(explain(error)))
      .finally(() => setBusy(false));
  };
  return { busy, problem, run };
}

/** The room of the address (`#room/{id}`), renewed with it. */
export function useRoute(): string | undefined {
  const [room, setRoom] = useState(routeOf(location.hash));
  useEffect(() => {
    const moved = () => setRoom(routeOf(location.hash));
    addEventListener("hashchange", moved);
    return () => removeEventListener("hashchange", moved);
  }, []);
  return room;
}

const ROUTE = "#room/";

/** The room that a fragment names. */
export function routeOf(hash: string): string | undefined {
  return hash.startsWith(ROUTE) ? hash.slice(ROUTE.length) || undefined : undefined;
}

/** The fragment of a room. */
export function routeTo(room: string): string {
  return `${ROUTE}${room}`;
}

const PANEL = "people"; // the state of an entry of the history that Back leaves by hiding the panel

/** Whether the panel covers the room (the style sheet's width of a phone). */
function covers(): boolean {
  return matchMedia("(max-width: 46rem)").matches;
}

/** What `usePanel` answers. */
interface Panel {
  readonly shown: boolean;
  readonly show: () => void;
  readonly hide: () => void;
  /** For the button of the room that shows and hides it. */
  readonly button: RefObject<HTMLButtonElement | null>;
  /** For the panel's own button that hides it. */
  readonly close: RefObject<HTMLButtonElement | null>;
}

/**
 * The panel beside the room. Showing it puts the focus on its own button. Escape hides it, unless something
 * else in the page takes the key; Back too, where it covers the room. Whoever loses the focus with it gets it
 * on the room's button.
 */
export function usePanel(): Panel {
  const [shown, setShown] = useState(history.state === PANEL);
  const button = useRef<HTMLButtonElement>(null);
  const close = useRef<HTMLButtonElement>(null);
  const show = () => {
    if (covers()) history.pushState(PANEL, "");
    setShown(true);
  };
  const hide = () => {
    if (history.state === PANEL) history.back();
    setShown(false);
  };
  useEffect(() => {
    const moved = () => {
      if (covers()) setShown(history.state === PANEL);
    };
    addEventListener("popstate", moved);
    return () => removeEventListener("popstate", moved);
  }, []);
  useLayoutEffect(() => {
    if (!shown) return;
    close.current?.focus();
    const pressed = (event: KeyboardEvent) => {
      const taken = event.defaultPrevented || event.isComposing || document.querySelector("dialog[open]") !== null;
      if (event.key === "Escape" && !taken) hide();
    };
    addEventListener("keydown", pressed);
    return () => {
      removeEventListener("keydown", pressed);
      if (document.activeElement === document.body) button.current?.focus();
    };
  }, [shown]);
  return { shown, show, hide, button, close };
}
