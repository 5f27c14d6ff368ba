/**
 * Who is signed in, and REST calls in their name. The access token lives in memory only; the refresh token
 * in local storage, so that a reload and other tabs stay signed in. Refresh tokens are rotated and a reused
 * one ends its whole family (design 4), so tabs take turns under a Web Lock and always read the newest one.
 */
import { CODES, type CodeWord } from "../../actors/codes.ts";
import type { User } from "./shapes.ts";

/** A refused or failed REST call. */
export class RestError extends Error {
  /** HTTP status; 0 when no answer came. */
  readonly status: number;
  /** A word of the table of codes; empty when no answer came. */
  readonly code: string;

  constructor(message: string, status: number, code: string) {
    super(message);
    this.name = "RestError";
    this.status = status;
    this.code = code;
  }
}

/** The sentence of a code, for people; a plain one for words of a newer server. */
export function sentenceOf(code: string): string {
  return Object.hasOwn(CODES, code)
    ? CODES[code as CodeWord].sentence
    : `The server refused this (${code || "no reason given"}).`;
}

/** What to do after a code; unknown words are not tried again. */
export function retryOf(code: string): "never" | "later" | "reconnect" | "login" {
  return Object.hasOwn(CODES, code) ? CODES[code as CodeWord].retry : "never";
}

/** A sentence about any failure, for people. */
export function explain(error: unknown): string {
  if (error instanceof RestError) return error.message;
  return error instanceof Error ? error.message : String(error);
}

/** What a session needs of its surroundings. */
export interface SessionParts {
  readonly fetch: typeof fetch;
  readonly storage: Pick<Storage, "getItem" | "setItem" | "removeItem">;
  /** Monotonic clock, ms. */
  readonly now: () => number;
  /** Runs a task while no other tab runs one. */
  readonly alone: <T>(task: () => Promise<T>) => Promise<T>;
}

interface Grant {
  readonly accessToken: string;
  readonly refreshToken: string;
  /** Seconds. */
  readonly expiresIn: number;
  readonly user: User;
}

const STORED = "confab.refresh";
const EARLY_MS = 30_000; // a token this close to its end is not used any more
const REFRESH_AT = 0.8; // of its life: then a new one is fetched

/** The signed-in user and their tokens. */
export class Session {
  readonly #parts: SessionParts;
  #access: { readonly token: string; readonly endsAt: number; readonly renewAt: number } | undefined;
  #refreshing: Promise<User> | undefined;

  constructor(parts: SessionParts) {
    this.#parts = parts;
  }

  /** Whether a refresh token is kept. */
  get remembered(): boolean {
    return this.#parts.storage.getItem(STORED) !== null;
  }

  /** Makes an account and signs in. Throws `RestError`. */
  async signup(account: { email: string; password: string; name: string }): Promise<User> {
    await this.#call("POST", "/api/auth/signup", { body: account });
    return this.login({ email: account.email, password: account.password });
  }

  /** Signs in. Throws `RestError`. */
  async login(credentials: { email: string; password: string }): Promise<User> {
    return this.#take((await this.#call("POST", "/api/auth/login", { body: credentials })) as Grant);
  }

  /** The user of the kept refresh token. Throws `RestError`; after one with status 401 nothing is kept. */
  refresh(): Promise<User> {
    this.#refreshing ??= this.#parts
      .alone(() => this.#refreshAlone())
      .finally(() => {
        this.#refreshing = undefined;
      });
    return this.#refreshing;
  }

  async #refreshAlone(): Promise<User> {
    const refreshToken = this.#parts.storage.getItem(STORED);
    if (refreshToken === null) throw new RestError(sentenceOf("token-missing"), 401, "token-missing");
    try {
      return this.#take((await this.#call("POST", "/api/auth/refresh", { body: { refreshToken } })) as Grant);
    } catch (error) {
      if (error instanceof RestError && error.status === 401) this.forget();
      throw error;
    }
  }

  #take(grant: Grant): User {
    const now = this.#parts.now();
    const life = grant.expiresIn * 1000;
    this.#access = { token: grant.accessToken, endsAt: now + life, renewAt: now + life * REFRESH_AT };
    this.#parts.storage.setItem(STORED, grant.refreshToken);
    return grant.user;
  }

  /** An access token that is good for a while; refreshes first when there is none. Throws `RestError`. */
  async token(): Promise<string> {
    if (this.#access === undefined || this.#access.endsAt - this.#parts.now() < EARLY_MS) await this.refresh();
    return this.#access?.token ?? "";
  }

  /** Milliseconds until the access token should be replaced. */
  renewInMs(): number {
    return this.#access === undefined ? 0 : Math.max(0, this.#access.renewAt - this.#parts.now());
  }

  /** The server did not take the access token: the next use fetches another one. */
  distrust(): void {
    this.#access = undefined;
  }

  /** Forgets everything, here and for the next reload. */
  forget(): void {
    this.#access = undefined;
    this.#parts.storage.removeItem(STORED);
  }

  /** Signs out at the server as far as it can be reached, and here in any case. */
  async logout(): Promise<void> {
    const refreshToken = this.#parts.storage.getItem(STORED);
    const token = this.#access?.token;
    this.forget();
    if (refreshToken === null) return;
    try {
      await this.#call("POST", "/api/auth/logout", { body: { refreshToken }, token });
    } catch (error) {
      if (!(error instanceof RestError)) throw error;
    }
  }

  /** A REST call in the user's name; once more after a refresh if the token had ended. Throws `RestError`. */
  async rest(method: string, path: string, body?: unknown): Promise<unknown> {
    try {
      return await this.#call(method, path, { body, token: await this.token() });
    } catch (error) {
      if (!(error instanceof RestError) || error.status !== 401 || this.#access === undefined) throw error;
    }
    this.distrust();
    return this.#call(method, path, { body, token: await this.token() });
  }

  async #call(method: string, path: string, send: { body?: unknown; token?: string | undefined }): Promise<unknown> {
    const headers: Record<string, string> = { accept: "application/json" };
    if (send.body !== undefined) headers["content-type"] = "application/json";
    if (send.token !== undefined) headers["authorization"] = `Bearer ${send.token}`;
    const body = send.body === undefined ? null : JSON.stringify(send.body);
    let answer: Response;
    let text: string;
    try {
      answer = await this.#parts.fetch(path, { method, headers, body, cache: "no-store" });
      text = await answer.text();
    } catch {
      throw new RestError("The server cannot be reached.", 0, "");
    }
    const value = parsed(text);
    if (answer.ok) return value;
    const code = String(value["code"] ?? "");
    const detail = value["detail"];
    throw new RestError(code === "" || typeof detail !== "string" ? sentenceOf(code) : detail, answer.status, code);
  }
}

function parsed(text: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = text === "" ? {} : JSON.parse(text);
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}
