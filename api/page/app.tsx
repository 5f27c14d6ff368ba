/** The frame of the page: bar, list, room, people. */
import type { JSX } from "preact";
import { useEffect } from "preact/hooks";
import type { Desk } from "./desk.ts";
import { Login } from "./login.tsx";
import { People } from "./people.tsx";
import { RoomView } from "./room.tsx";
import { Rooms } from "./rooms.tsx";
import type { State } from "./store.ts";
import { DeskContext, useDesk, useNow, usePanel, useRoute, useStore } from "./use.ts";
import { statusOf } from "./words.ts";

const CAUGHT_UP_MS = 4_000; // how long the end of catching up stays to be read

/** The whole page. */
export function App({ desk }: { desk: Desk }): JSX.Element {
  const state = useStore(desk.store);
  return (
    <DeskContext.Provider value={desk}>
      {state.phase === "starting" && <p class="starting">Starting…</p>}
      {state.phase === "out" && <Login notice={state.notice} />}
      {state.phase === "in" && <Inside state={state} />}
    </DeskContext.Provider>
  );
}

function Inside({ state }: { state: State }): JSX.Element {
  const desk = useDesk();
  const route = useRoute();
  useEffect(() => {
    if (route !== undefined) desk.talk.open(route);
    else desk.talk.close();
  }, [desk, route]);
  const lost = route !== undefined && state.lost === route;
  useEffect(() => {
    if (!lost) return;
    desk.store.set({ lost: undefined });
    location.hash = "";
  }, [desk, lost]);
  const room = state.open === route ? route : undefined;
  const { shown: people, show, hide, button, close } = usePanel();
  return (
    <div class={`app ${room === undefined ? "at-list" : "at-room"} ${people ? "with-people" : ""}`}>
      <a class="skip" href={room === undefined ? "#rooms" : "#message"} onClick={skip}>
        Skip to the {room === undefined ? "rooms" : "message field"}
      </a>
      <Bar state={state} />
      <Notice text={state.notice} />
      <main>
        <Rooms state={state} />
        {room === undefined ? (
          <div class="nothing">
            <h2>No room is open</h2>
            <p>Choose one from the list, browse the public rooms, or start a private chat.</p>
          </div>
        ) : (
          <RoomView key={room} {...{ room, state, people, button }} onPeople={people ? hide : show} />
        )}
        {room !== undefined && people && <People state={state} close={close} onClose={hide} />}
      </main>
    </div>
  );
}

function skip(event: Event): void {
  event.preventDefault();
  const room = document.querySelector<HTMLElement>("nav li a") ?? document.querySelector<HTMLElement>("nav button");
  (document.getElementById("message") ?? room)?.focus();
}

function Bar({ state }: { state: State }): JSX.Element {
  const desk = useDesk();
  return (
    <header class="bar">
      <h1>Confab</h1>
      <StatusLine state={state} />
      <span class="me">{state.user?.name}</span>
      <button type="button" class="quiet" onClick={() => void desk.logout()}>
        Log out
      </button>
    </header>
  );
}

function StatusLine({ state }: { state: State }): JSX.Element {
  const desk = useDesk();
  const { wire, catching } = state;
  const now = useNow(500, wire.kind === "waiting");
  const done = catching !== undefined && catching.left === 0;
  useEffect(() => {
    if (!done) return;
    const timer = setTimeout(() => desk.store.set({ catching: undefined }), CAUGHT_UP_MS);
    return () => clearTimeout(timer);
  }, [desk, done]);
  const status = statusOf(wire, catching, now);
  return (
    <div class={`status ${status.tone}`}>
      <span class="shown" aria-hidden="true">
        {status.shown}
      </span>
      <span class="hidden" role="status">
        {status.spoken}
      </span>
      {wire.kind === "up" && catching === undefined && (
        <span class="node">
          <span class="word">node </span>
          {wire.node}
        </span>
      )}
      {wire.kind === "waiting" && (
        <button type="button" class="quiet small" onClick={() => desk.hurry()}>
          Now
          <span class="hidden"> try to reconnect</span>
        </button>
      )}
    </div>
  );
}

function Notice({ text }: { text: string | undefined }): JSX.Element {
  const desk = useDesk();
  return (
    <div class="notice-place" role="alert">
      {text !== undefined && (
        <div class="notice">
          <span>{text}</span>
          <button type="button" class="quiet small" onClick={() => desk.say(undefined)}>
            Dismiss
          </button>
        </div>
      )}
    </div>
  );
}
