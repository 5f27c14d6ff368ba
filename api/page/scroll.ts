/**
 * Keeps the reader's place in the messages: at the bottom new ones push up; elsewhere the line at the top of
 * the view stays where it is, whatever is added or dropped above and below it.
 */
import type { RefObject } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";

const NEAR_BOTTOM = 48; // px: counts as being at the bottom
const NEAR_EDGE = 400; // px: the next page is fetched this early

/** What the scrolling asks for and tells. */
export interface Scrolling {
  readonly box: RefObject<HTMLDivElement | null>;
  readonly atBottom: boolean;
  /** Goes to the end. */
  readonly toEnd: () => void;
}

/** What the scrolling needs: whether anything is there, which lines, and whom to tell. */
export interface ScrollParts {
  readonly loaded: boolean;
  /** Changes when lines do. */
  readonly lines: unknown;
  readonly older: () => void;
  readonly newer: () => void;
  readonly looks: (looks: { atBottom: boolean; visible: boolean }) => void;
}

interface Place {
  follow: boolean;
  key: string | undefined;
  top: number;
  begun: boolean;
}

/** Scrolling of a box whose lines bear `data-key`; the divider of new messages bears `data-divider`. */
export function useScroll(parts: ScrollParts): Scrolling {
  const box = useRef<HTMLDivElement>(null);
  const place = useRef<Place>({ follow: true, key: undefined, top: 0, begun: false });
  const [atBottom, setAtBottom] = useState(true);
  const latest = useRef(parts);
  latest.current = parts;

  const settle = (element: HTMLDivElement) => {
    place.current = { ...placeOf(element), begun: place.current.begun };
    setAtBottom(place.current.follow);
    tell(place.current.follow);
  };
  const tell = (follow: boolean) =>
    latest.current.looks({ atBottom: follow, visible: document.visibilityState === "visible" });

  useLayoutEffect(() => {
    const element = box.current;
    if (element === null || !parts.loaded) return;
    if (!place.current.begun) begin(element, place.current);
    else restore(element, place.current);
    settle(element);
    if (element.scrollHeight <= element.clientHeight + NEAR_EDGE) latest.current.older();
  }, [parts.loaded, parts.lines]);

  useEffect(() => {
    const element = box.current;
    if (element === null) return;
    const scrolled = () => {
      settle(element);
      if (element.scrollTop < NEAR_EDGE) latest.current.older();
      if (element.scrollHeight - element.scrollTop - element.clientHeight < NEAR_EDGE) latest.current.newer();
    };
    const seen = () => tell(place.current.follow);
    const sized = new ResizeObserver(() => restore(element, place.current));
    sized.observe(element);
    element.addEventListener("scroll", scrolled, { passive: true });
    document.addEventListener("visibilitychange", seen);
    return () => {
      sized.disconnect();
      element.removeEventListener("scroll", scrolled);
      document.removeEventListener("visibilitychange", seen);
    };
  }, []);

  const toEnd = () => {
    place.current.follow = true;
    if (box.current !== null) restore(box.current, place.current);
  };
  return { box, atBottom, toEnd };
}

/** At first: to the divider if there is one, else to the end. */
function begin(element: HTMLDivElement, place: Place): void {
  place.begun = true;
  const divider = element.querySelector<HTMLElement>("[data-divider]");
  if (divider === null) element.scrollTop = element.scrollHeight;
  else element.scrollTop = divider.offsetTop - element.clientHeight / 4;
}

function restore(element: HTMLDivElement, place: Place): void {
  if (place.follow) {
    element.scrollTop = element.scrollHeight;
    return;
  }
  const line = place.key === undefined ? null : element.querySelector<HTMLElement>(`[data-key="${place.key}"]`);
  if (line !== null) element.scrollTop = line.offsetTop - place.top;
}

function placeOf(element: HTMLDivElement): Omit<Place, "begun"> {
  const follow = element.scrollHeight - element.scrollTop - element.clientHeight < NEAR_BOTTOM;
  const lines = element.querySelectorAll<HTMLElement>("[data-key]");
  let low = 0;
  let high = lines.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    const line = lines[middle] as HTMLElement;
    if (line.offsetTop + line.offsetHeight > element.scrollTop) high = middle;
    else low = middle + 1;
  }
  const line = lines[low];
  return { follow, key: line?.dataset["key"], top: line === undefined ? 0 : line.offsetTop - element.scrollTop };
}
