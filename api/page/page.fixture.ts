/** What the browser tests need: Chromium, pages that report every complaint, and a network that can be cut. */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { connect, createServer, type Server as NetServer, type Socket } from "node:net";
import { type Browser, type BrowserContext, type BrowserContextOptions, chromium, type Page } from "playwright-core";
import { type Server, startServer } from "../../ops/drills/harness.ts";
import { Diary } from "./page.diary.ts";

const CHROMIUM = "/usr/bin/chromium";
const ARGS = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];
/** The server of these tests replays no more than this; someone further behind reads the history again. */
export const REPLAYED = 200;
/** And takes so many messages of a connection at once, as the tests fill long rooms by one. */
const BURST = 1_000;
/** And it takes no longer messages than these bytes. */
export const LONGEST = 20_000;
const SETTINGS = {
  LIMIT_SIGNUPS_PER_ADDRESS: "0",
  LIMIT_REPLAY_ENTRIES: String(REPLAYED),
  LIMIT_BODY_BYTES: String(LONGEST),
  LIMIT_SENDS_BURST: String(BURST),
};
const WAIT_MS = 15_000; // for anything a page should show; busy machines are slow

/** A TCP hop before the server that can be cut: connections end at once, and new ones are not let in. */
export class Hop {
  readonly #server: NetServer;
  readonly #sockets = new Set<Socket>();
  #cut = false;

  constructor(target: () => number) {
    this.#server = createServer((inner) => {
      if (this.#cut) return void inner.destroy();
      const outer = connect(target(), "127.0.0.1");
      for (const [socket, other] of [
        [inner, outer],
        [outer, inner],
      ] as const) {
        this.#sockets.add(socket);
        socket.on("error", () => other.destroy());
        socket.on("close", () => {
          this.#sockets.delete(socket);
          other.destroy();
        });
        socket.pipe(other);
      }
    });
  }

  /** Listens on a free port and answers it. */
  async listen(): Promise<number> {
    await new Promise<void>((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
    const address = this.#server.address();
    assert.ok(typeof address === "object" && address !== null);
    return address.port;
  }

  /** Ends all connections and lets none in. */
  cut(): void {
    this.#cut = true;
    for (const socket of this.#sockets) socket.destroy();
  }

  /** Lets connections in again. */
  heal(): void {
    this.#cut = false;
  }

  /** Ends. */
  close(): void {
    this.cut();
    this.#server.close();
  }
}

/** A person with a browser of their own. */
export interface Person {
  readonly name: string;
  readonly page: Page;
  readonly context: BrowserContext;
  /** The way between this person and the server. */
  readonly hop: Hop;
  readonly url: string;
  /** Console errors, exceptions and policy violations so far, but for those of a cut network. */
  readonly complaints: string[];
  /** What the page did and met, and how it and its server are now. */
  readonly told: () => Promise<string>;
}

/** A server and a browser for a file of tests. */
export class Stage {
  #server: Server;
  readonly #browser: Browser;
  readonly #hops: Hop[] = [];
  readonly #first: Server;

  private constructor(server: Server, browser: Browser) {
    this.#server = server;
    this.#first = server;
    this.#browser = browser;
  }

  /** Starts both. */
  static async open(): Promise<Stage> {
    const server = await startServer({ env: SETTINGS });
    try {
      return new Stage(server, await chromium.launch({ executablePath: CHROMIUM, args: ARGS }));
    } catch (error) {
      await server.remove();
      throw error;
    }
  }

  /** The server that runs now. */
  get server(): Server {
    return this.#server;
  }

  /** Starts the server again, after its end, on the same data; the hops lead to its new port. */
  async restart(): Promise<void> {
    this.#server = await startServer({ env: SETTINGS, dataDir: this.#first.dataDir });
  }

  /** Ends everything. */
  async close(): Promise<void> {
    await this.#browser.close();
    for (const hop of this.#hops) hop.close();
    if (this.#server !== this.#first) await this.#server.stop();
    await this.#first.remove();
  }

  /** A new person at the sign-in page. */
  async person(name: string, options: BrowserContextOptions = {}): Promise<Person> {
    const hop = new Hop(() => this.server.port);
    this.#hops.push(hop);
    const url = `http://127.0.0.1:${await hop.listen()}/`;
    const context = await this.#browser.newContext({ reducedMotion: "reduce", ...options });
    context.setDefaultTimeout(WAIT_MS);
    const page = await context.newPage();
    const diary = new Diary(page);
    const complaints: string[] = [];
    page.on("pageerror", (error) => complaints.push(`exception: ${error.message}`));
    page.on("console", (message) => {
      const text = message.text();
      // Violations of the policy are among them. Not counted: what Chromium says of a connection that a test cut.
      if (message.type() === "error" && !/net::ERR_|WebSocket connection to/.test(text)) complaints.push(text);
    });
    await page.goto(url);
    return { name, page, context, hop, url, complaints, told: () => diary.told(this.server) };
  }

  /** A new person, signed up through the page. */
  async member(name: string, options: BrowserContextOptions = {}): Promise<Person> {
    const person = await this.person(name, options);
    await signUp(person);
    return person;
  }
}

/** An email address for a name. */
export function emailOf(name: string): string {
  return `${name.toLowerCase().replaceAll(/[^a-z0-9]+/g, ".")}@example.org`;
}

/** Signs up through the page. */
export async function signUp(person: Person): Promise<void> {
  const { page, name } = person;
  await page.getByRole("button", { name: "Make an account" }).click();
  await page.getByLabel("Name").fill(name);
  await page.getByLabel("Email").fill(emailOf(name));
  await page.getByLabel("Password").fill(`a long password of ${name}`);
  await page.getByRole("button", { name: "Sign up" }).click();
  await live(person);
}

/** Waits until the page says that it is connected; fails with all that is known of it. */
export async function live({ page, name, told }: Person): Promise<void> {
  try {
    await page.locator(".status.live").waitFor();
  } catch (cause) {
    throw new Error(`The page of ${name} is not connected.\n${await told()}`, { cause });
  }
}

/** Opens a public room by browsing, joining it if need be. */
export async function enter({ page }: Person, room: string): Promise<void> {
  await page.getByRole("button", { name: "Browse" }).click();
  const line = page.getByRole("dialog").getByRole("listitem").filter({ hasText: room });
  await line.getByRole("button").click();
  await page.getByRole("heading", { name: room, level: 2 }).waitFor();
  await page.getByText("The conversation begins here.").or(page.getByText("Loading older messages")).first().waitFor();
}

/** Makes a room through the page, and opens it. */
export async function makeRoom({ page }: Person, name: string, type: "public" | "private" = "public"): Promise<void> {
  await page.getByRole("button", { name: "New room" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByLabel("Name").fill(name);
  await dialog.getByLabel(type === "public" ? "Everybody" : "Members only").check();
  await dialog.getByRole("button", { name: "Make the room" }).click();
  await page.getByText("The conversation begins here.").waitFor();
}

/** Writes a message and sends it with Enter. */
export async function say({ page }: Person, text: string): Promise<void> {
  await page.locator("#message").fill(text);
  await page.locator("#message").press("Enter");
}

/** Waits until the log shows a message. */
export async function sees({ page }: Person, text: string): Promise<void> {
  await page.getByRole("log").getByText(text, { exact: true }).first().waitFor();
}

/** The texts of all messages shown, in order. */
export async function texts({ page }: Person): Promise<string[]> {
  return page.locator(".line .text").allTextContents();
}

/** Waits until every own message bears the mark of a stored one. */
export async function allStored({ page }: Person): Promise<void> {
  await page.waitForFunction(
    () =>
      document.querySelector(".mark.pending, .mark.failed, .line.waiting") === null &&
      document.querySelector(".mark") !== null,
  );
}

/** Runs axe-core on the page; fails on anything it finds. */
export async function assertAccessible({ page }: Person, view: string): Promise<void> {
  const source = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
  await page.evaluate(source); // through the debugger's door, which the page's policy does not bar
  const found = await page.evaluate(async () => {
    const { axe } = globalThis as unknown as { axe: { run(): Promise<AxeResults> } };
    return (await axe.run()).violations;
  });
  const told = found.map(
    ({ id, nodes }) => `${id}: ${nodes.map((node) => `${node.target.join(" ")} ${node.failureSummary}`).join(" | ")}`,
  );
  assert.deepEqual(told, [], view);
}

interface AxeResults {
  readonly violations: readonly {
    readonly id: string;
    readonly nodes: readonly { readonly target: readonly string[]; readonly failureSummary?: string }[];
  }[];
}

/** Fails if the page complained of anything. */
export function assertQuiet(...people: readonly Person[]): void {
  for (const { name, complaints } of people) assert.deepEqual(complaints, [], `${name}'s console`);
}
