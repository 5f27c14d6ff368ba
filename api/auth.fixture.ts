/** For tests: accounts in memory behind the app, with tokens and hashes that cost nothing. */
import assert from "node:assert/strict";
import { createHash, randomBytes, randomUUID } from "node:crypto";
import { Accounts, type Secrets } from "../actors/accounts.ts";
import type { Chat } from "../actors/chat.ts";
import { Refusal } from "../actors/codes.ts";
import { MemoryDirectory } from "../actors/directory.memory.ts";
import type { Claims, TokenVerifier } from "../actors/identity.ts";
import { LIMITS } from "../actors/limits.ts";
import { SILENT } from "../actors/log.ts";
import { Revocations, refusingRevoked } from "../actors/revocations.ts";
import { type Answer, startApp, type TestApp } from "./app.fixture.ts";
import { authRoutes, type KeySet } from "./auth.ts";
import { deletedIn, userRoutes } from "./users.ts";

const hash = (text: string): string => createHash("sha256").update(text).digest("base64url");

/** Refresh tokens as in production in all that routes can see; what they are made of is the engine's. */
const secrets: Secrets = {
  uuid: randomUUID,
  refreshToken: () => tokenOf(randomUUID()),
  nextRefreshToken: (token) => tokenOf(token.slice(0, 36)),
  readRefreshToken: (token) => (token.length < 37 ? undefined : hashesOf(token)),
  fingerprint: hash,
};
const hashesOf = (token: string) => ({ handle: hash(token.slice(0, 36)), hash: hash(token) });
function tokenOf(name: string) {
  const token = name + randomBytes(16).toString("hex");
  return { token, ...hashesOf(token) };
}

/** Access tokens: names of claims kept in a map. */
class TestTokens implements TokenVerifier {
  readonly signs = true;
  readonly #claims = new Map<string, Claims>();

  sign(subject: Pick<Claims, "sub" | "name" | "groups"> & { sid: string; issuedAtMs: number }) {
    const token = randomUUID();
    this.#claims.set(token, { ...subject, jti: token, expiresAtMs: Date.now() + 3_600_000 });
    return { token, expiresInS: 3_600 };
  }

  verify(token: string): Claims {
    const claims = this.#claims.get(token);
    if (claims === undefined) throw new Refusal("token-bad");
    return claims;
  }
}

/** An app with accounts. */
export interface Setting {
  readonly app: TestApp;
  readonly directory: MemoryDirectory;
  readonly state: { refuse: Refusal | undefined };
}

/** The app with accounts in memory; `state.refuse` is what the next tries of passwords are refused with. */
export async function startAccounts(chat: Chat, keys: KeySet = { jwks: () => ({ keys: [] }) }): Promise<Setting> {
  const directory = new MemoryDirectory();
  const revocations = new Revocations(LIMITS);
  const tokens = new TestTokens();
  const state: Setting["state"] = { refuse: undefined };
  const gate = async () => {
    if (state.refuse !== undefined) throw state.refuse;
  };
  const accounts = new Accounts({
    directory,
    throttle: { attempt: gate, giveBack: async () => {}, signup: gate },
    passwords: { hash: async (password) => hash(password), verify: async (password, kept) => kept === hash(password) },
    signer: tokens,
    secrets,
    clock: { now: () => Date.now() },
    log: SILENT,
    limits: LIMITS,
    accessTokenS: 3_600,
    refreshTokenS: 86_400,
    onRevoked: (revocation) => void revocations.add(revocation),
  });
  const verifier = refusingRevoked(tokens, revocations);
  const plugins = [authRoutes({ accounts, verifier, keys, chat }), userRoutes({ accounts, verifier })];
  return { app: await startApp(chat, { verifier, plugins, isDeleted: deletedIn(accounts) }), directory, state };
}

/** The password of everybody here. */
export const PASSWORD = "correct horse";

/** A new user, logged in; `login` opens another session. */
export async function newPerson({ app }: Setting, name = "Somebody") {
  const email = `${randomUUID()}@example.org`;
  const { json: user } = await app.ask(undefined, "POST", "/api/auth/signup", { email, password: PASSWORD, name });
  const login = async () => (await app.ask(undefined, "POST", "/api/auth/login", { email, password: PASSWORD })).json;
  return { email, user, login, ...(await login()) };
}

/** The answer is this problem. */
export function isProblem(answer: Answer, status: number, code: string): void {
  assert.equal(answer.status, status, answer.text);
  assert.equal(answer.json.code, code);
  assert.match(String(answer.headers["content-type"]), /^application\/problem\+json/);
}
