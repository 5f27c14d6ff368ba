/** Starts the page. */
import { render } from "preact";
import { App } from "./app.tsx";
import { Desk } from "./desk.ts";
import { unreadTotal } from "./store.ts";

/** Runs a task while no other tab of this site does; where locks are missing (plain HTTP), at once. */
function alone<T>(task: () => Promise<T>): Promise<T> {
  const locks: LockManager | undefined = navigator.locks;
  return locks === undefined ? task() : locks.request("confab.refresh", task);
}

const scheme = location.protocol === "https:" ? "wss:" : "ws:";
const desk = new Desk(`${scheme}//${location.host}/ws/chat`, {
  fetch: (input, init) => fetch(input, init),
  storage: localStorage,
  now: () => performance.now(),
  alone,
});

addEventListener("online", () => desk.hurry());
addEventListener("offline", () => desk.offline());
document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "visible") desk.hurry();
});
addEventListener("storage", () => {
  // Another tab signed out.
  if (desk.store.state.phase === "in" && !desk.session.remembered) desk.leave(undefined);
});
addEventListener("beforeunload", (event) => {
  for (const log of desk.store.state.logs.values()) if (log.outbox.length > 0) event.preventDefault();
});
desk.store.listen(() => {
  const unread = unreadTotal(desk.store.state);
  const title = unread > 0 ? `(${unread}) Confab` : "Confab";
  if (document.title !== title) document.title = title;
});

const root = document.getElementById("app");
if (root !== null) {
  root.replaceChildren();
  render(<App desk={desk} />, root);
}
void desk.begin();
