/**
 * What a page did and met, as the browser saw it: requests, the frames of its WebSockets, complaints. For the message
 * of a test that waited in vain, which has to tell apart a request without an answer, a connection that was refused,
 * a page that does not draw, and a machine that stands still.
 */
import { loadavg } from "node:os";
import type { Page, Request, WebSocket } from "playwright-core";
import { call, type Server, within } from "../../ops/drills/harness.ts";

/** Lines kept: the first, in which a page comes up, and the newest. */
const FIRST_LINES = 40;
const LAST_LINES = 60;
/** Characters of a line, and of what the page shows. */
const LINE_CHARACTERS = 200;
const WORDS_CHARACTERS = 1_000;
/** How long the page and the server are given to say how they are, ms. */
const ASK_MS = 3_000;
/** A page that draws does so within this, ms. */
const FRAME_MS = 1_000;
/** The server's last lines that are told. */
const SERVER_LINES = 10;
/** Headers of STOMP that say what a frame is about; others are bodies of people or secrets. */
const TOLD = /^(code|message|destination|id|subscription|event|receipt|receipt-id|node|version):/;
/** The server's counts of what a page can have met. */
const COUNTS =
  /^confab_(connections|refusals|subscriptions|queue_depth|ready|http_requests_total|component_state)\S* \S+$/gm;

/** The diary of one page, from its opening on. */
export class Diary {
  readonly #first: string[] = [];
  readonly #last: string[] = [];
  readonly #page: Page;
  readonly #openedAt = performance.now();

  constructor(page: Page) {
    this.#page = page;
    page.on("request", (request) => this.#note(`${shown(request)} …`));
    page.on("requestfailed", (request) => this.#note(`${shown(request)} failed: ${request.failure()?.errorText}`));
    page.on("response", (response) => this.#note(`${shown(response.request())} ${response.status()}`));
    page.on("websocket", (socket) => this.#hear(socket));
    page.on("console", (message) => this.#note(`console ${message.type()}: ${message.text()}`));
    page.on("pageerror", (error) => this.#note(`exception: ${error.message}`));
    page.on("crash", () => this.#note("the page crashed"));
  }

  #hear(socket: WebSocket): void {
    this.#note("WebSocket opens");
    socket.on("framesent", ({ payload }) => this.#note(`> ${frameOf(payload)}`));
    socket.on("framereceived", ({ payload }) => this.#note(`< ${frameOf(payload)}`));
    socket.on("socketerror", (error) => this.#note(`WebSocket failed: ${error}`));
    socket.on("close", () => this.#note("WebSocket closed"));
  }

  #note(what: string): void {
    const line = `${this.#seconds()} ${what}`.slice(0, LINE_CHARACTERS);
    if (this.#first.length < FIRST_LINES) this.#first.push(line);
    else if (this.#last.push(line) > LAST_LINES) this.#last.shift();
  }

  #seconds(): string {
    return `${((performance.now() - this.#openedAt) / 1_000).toFixed(2).padStart(7)} s`;
  }

  /** All that is known of the page, and of its server at the same time; never rejects. */
  async told(server: Server): Promise<string> {
    const parts = await Promise.all([
      orElse(this.#asked(), "The page"),
      orElse(serverOf(server), "The server"),
      Promise.resolve(`load of the machine: ${loadavg().join(" ")}`),
    ]);
    const left = this.#last.length < LAST_LINES ? [] : ["…"];
    const lines = server.lines.slice(-SERVER_LINES).map((line) => line.slice(0, LINE_CHARACTERS));
    const own = [...this.#first, ...left, ...this.#last, `${this.#seconds()} now`];
    return [...parts, ...own, "The server's last lines:", ...lines].join("\n");
  }

  /** What the page says of itself: what it shows, and whether it still draws. */
  async #asked(): Promise<string> {
    const { words, ...state } = await this.#page.evaluate(async (frameMs) => {
      const beganAt = performance.now();
      const drawn = await new Promise<string>((resolve) => {
        setTimeout(() => resolve(`none in ${frameMs} ms`), frameMs);
        requestAnimationFrame(() => resolve(`after ${Math.round(performance.now() - beganAt)} ms`));
      });
      const { visibilityState, readyState, activeElement, body } = document;
      const status = document.querySelector(".status")?.className ?? "none";
      const focus = `${activeElement?.tagName} ${activeElement?.getAttribute("name") ?? activeElement?.id}`;
      // A form with one of these is not sent, without a word.
      const unfit = Array.from(document.querySelectorAll("input:invalid"), (input) => input.getAttribute("name"));
      const { onLine } = navigator;
      const words = body.textContent;
      return { drawn, visibilityState, readyState, onLine, status, focus, unfit, hash: location.hash, words };
    }, FRAME_MS);
    return `page: ${JSON.stringify(state)}\nIt says: ${words.replaceAll(/\s*\n\s*/g, " | ").slice(0, WORDS_CHARACTERS)}`;
  }
}

async function serverOf(server: Server): Promise<string> {
  const [ready, metrics] = await Promise.all([call(server, "GET /health/ready"), call<string>(server, "GET /metrics")]);
  const counts =
    String(metrics.body)
      .match(COUNTS)
      ?.filter((line) => !line.endsWith(" 0")) ?? [];
  return [`server: ${ready.status} ${JSON.stringify(ready.body)}`, ...counts].join("\n");
}

/** The answer, or why there is none. */
async function orElse(answer: Promise<string>, who: string): Promise<string> {
  return within(answer, ASK_MS, `${who}'s answer`).catch((error: Error) => error.message);
}

function shown(request: Request): string {
  const { pathname } = new URL(request.url());
  return `${request.method()} ${pathname}`;
}

/** The command of a frame and what it is about. */
function frameOf(payload: string | Buffer): string {
  const [command = "", ...lines] = payload.toString().split("\n\n", 1).join("").split("\n");
  return [command || "heart-beat", ...lines.filter((line) => TOLD.test(line))].join(" ");
}
