/**
 * The REST side through the public port: a small GET against plain fastify on node:http, a page of history at half of
 * what saturates, and logins. Saturating load is autocannon's; the open-loop load is `client/ask.ts`.
 */
import { barOf } from "../bars.ts";
import { signToken } from "../client/frames.ts";
import type { Cannon, Requested } from "../client/messages.ts";
import { versus } from "../compare.ts";
import { LoadClient } from "../load.ts";
import { type Figure, median, spread } from "../report.ts";
import { post, seed, startConfab, startFastify, type Target } from "../targets.ts";
import type { Options, Scenario } from "./scenario.ts";

const NAME = "rest";
const CONNECTIONS = 50;
const PAGE = 50;
const SEEDED = 200;
const LOGIN_CONNECTIONS = 4;
const HALF = 0.5;
/** Below this share of its core a server was not the limit, and its requests a second say nothing. */
const SERVER_SHARE_MIN = 0.85;
/** From here on autocannon, which is one process, is the limit. */
const CLIENT_SHARE_FULL = 0.93;
/** So that no login is refused: what is measured is what they cost. */
const NO_LOGIN_LIMITS = { LIMIT_LOGINS_PER_ACCOUNT: "0", LIMIT_LOGINS_PER_ADDRESS: "0" };
const ACCOUNT = { email: "bench@example.org", password: "correct horse battery", name: "Bench" };

const perSecond = ({ requests, seconds }: Requested): number => requests / seconds;
const cost = ({ serverCpuSeconds, requests }: Requested): number => (serverCpuSeconds / requests) * 1e6;

/** How the load is to be run. */
interface Effort {
  readonly rounds: number;
  readonly warmSeconds: number;
  readonly seconds: number;
}

function cannon(target: Target, path: string, effort: Effort): Cannon {
  const url = `http://127.0.0.1:${target.port}${path}`;
  const { warmSeconds, seconds } = effort;
  return { kind: "cannon", url, serverPid: target.pid, connections: CONNECTIONS, warmSeconds, seconds };
}

function failures(name: string, done: readonly Requested[]): string[] {
  const sum = done.reduce((total, { failures: failed }) => total + failed, 0);
  return sum > 0 ? [`${name}: ${sum} requests failed`] : [];
}

function share(done: readonly Requested[], whose: "serverCpuSeconds" | "clientCpuSeconds"): number {
  return median(done.map((each) => each[whose] / each.seconds));
}

/** Whether the servers were the limit, for the figures that are rates. */
function limits(name: string, done: readonly Requested[]): string[] {
  const used = share(done, "serverCpuSeconds");
  return used < SERVER_SHARE_MIN ? [`${name}: the server had ${Math.round(used * 100)}% of its core`] : [];
}

/** The small GET: requests a second, and CPU per request, A B A B. */
async function small(client: LoadClient, confab: Target, fastify: Target, effort: Effort): Promise<Figure[]> {
  const [ours, theirs]: [Requested[], Requested[]] = [[], []];
  for (let round = 0; round < effort.rounds; round += 1) {
    ours.push(await client.run(cannon(confab, "/health/live", effort)));
    theirs.push(await client.run(cannon(fastify, "/health/live", effort)));
  }
  const failed = [...failures("Confab", ours), ...failures("fastify", theirs)];
  const facts = {
    rounds: effort.rounds,
    connections: CONNECTIONS,
    confabServerShare: share(ours, "serverCpuSeconds"),
    confabClientShare: share(ours, "clientCpuSeconds"),
    bareServerShare: share(theirs, "serverCpuSeconds"),
    bareClientShare: share(theirs, "clientCpuSeconds"),
    confabP99Ms: median(ours.map(({ p99Ms }) => p99Ms)),
    bareP99Ms: median(theirs.map(({ p99Ms }) => p99Ms)),
  };
  const figure = (name: string, unit: string, of: (done: Requested) => number): Figure => {
    const [our, their] = [ours.map(of), theirs.map(of)];
    return versus({ scenario: NAME, name, unit, rival: "fastify", ours: our, theirs: their, faults: failed, facts });
  };
  const rate = figure("GET of a small JSON", "requests/s", perSecond);
  // Where autocannon could not ask for more, Confab can at least what it did, which a bar from below may count; and what
  // fastify can is not known.
  const held = share(ours, "clientCpuSeconds") >= CLIENT_SHARE_FULL;
  return [
    { ...rate, faults: [...failed, ...(held ? [] : limits("Confab", ours)), ...limits("fastify", theirs)] },
    figure("its server CPU per request", "us", cost),
  ];
}

/** A figure of Confab alone, from runs of one load. */
function alone(name: string, unit: string, done: readonly Requested[], of: (done: Requested) => number): Figure {
  const values = done.map(of);
  return {
    scenario: NAME,
    name,
    unit,
    confab: median(values),
    bare: null,
    ratio: null,
    spread: { confab: spread(values) },
    bar: barOf(NAME, name),
    faults: failures("Confab", done),
    facts: {
      rounds: done.length,
      confabServerUs: median(done.map(cost)),
      confabServerShare: share(done, "serverCpuSeconds"),
      confabClientShare: share(done, "clientCpuSeconds"),
      confabPerSecond: median(done.map(perSecond)),
      confabP50Ms: median(done.map(({ p50Ms }) => p50Ms)),
      confabP99Ms: median(done.map(({ p99Ms }) => p99Ms)),
    },
  };
}

/** A page of history: what saturates, then its latency at half of that. */
async function history(client: LoadClient, confab: Target, effort: Effort): Promise<Figure[]> {
  const [room = ""] = await confab.rooms(1);
  await seed(confab, room, SEEDED);
  const token = signToken(confab.secret, "reader");
  const path = `/api/rooms/${room}/messages?limit=${PAGE}`;
  const saturated = await client.run({ ...cannon(confab, path, effort), token });
  const rate = HALF * perSecond(saturated);
  const { port, pid: serverPid } = confab;
  const asked: Requested[] = [];
  for (let round = 0; round < effort.rounds; round += 1) {
    const place = { port, path, serverPid, token, connections: CONNECTIONS };
    asked.push(await client.run({ kind: "ask", ...place, rate, warmSeconds: 0.5, seconds: effort.seconds }));
  }
  return [
    alone("history page of 50, saturated", "pages/s", [saturated], perSecond),
    alone("history page of 50, p99 at half of saturation", "ms", asked, ({ p99Ms }) => p99Ms),
  ];
}

/** One room, with a token to verify and access to check: what a call costs beyond the small GET. */
async function described(client: LoadClient, confab: Target, effort: Effort): Promise<Figure> {
  const [room = ""] = await confab.rooms(1);
  const token = signToken(confab.secret, "reader");
  const done = await client.run({ ...cannon(confab, `/api/rooms/${room}`, effort), token });
  return alone("GET of a room with a token", "requests/s", [done], perSecond);
}

async function logins(client: LoadClient, confab: Target, seconds: number): Promise<Figure> {
  await post({ port: confab.port, token: "", path: "/api/auth/signup", body: ACCOUNT });
  const { email, password } = ACCOUNT;
  const effort = { rounds: 1, warmSeconds: 1, seconds };
  const wish = { ...cannon(confab, "/api/auth/login", effort), connections: LOGIN_CONNECTIONS };
  const done = await client.run({ ...wish, body: JSON.stringify({ email, password }) });
  return alone("logins", "logins/s", [done], perSecond);
}

async function run({ quick, progress }: Options): Promise<Figure[]> {
  const effort: Effort = quick ? { rounds: 1, warmSeconds: 1, seconds: 2 } : { rounds: 5, warmSeconds: 1, seconds: 4 };
  const client = new LoadClient();
  const confab = await startConfab(NO_LOGIN_LIMITS);
  const fastify = await startFastify();
  progress(`${NAME}: a small GET, beside fastify`);
  const figures = await small(client, confab, fastify, effort);
  await fastify.end();
  progress(`${NAME}: a room with a token`);
  figures.push(await described(client, confab, effort));
  progress(`${NAME}: pages of history`);
  figures.push(...(await history(client, confab, effort)));
  progress(`${NAME}: logins`);
  figures.push(await logins(client, confab, quick ? 2 : 6));
  await client.end();
  return figures;
}

export const rest: Scenario = { name: NAME, about: "REST: a small GET against plain fastify, history, logins", run };
