/** What a node of a drill says of itself and of rooms, when it is asked and while it answers. */
import { call, must, type Server, signToken, tokenFor, within } from "./harness.ts";

/** A place of a node: the process of now and what all its processes wrote. */
export interface NodeSeen {
  /** Its place among the drill's, and the name of its process. */
  readonly label: string;
  readonly server: Server;
  readonly lives: readonly (readonly string[])[];
}

/** Claims that open the administrators' REST. */
export const ADMIN = signToken({ sub: "administrator", name: "Administrator", groups: ["confab-admin"] });

/** A shard as a node knows it. */
export interface ShardJson {
  readonly shard: number;
  readonly owner?: string;
  readonly term: number;
  readonly state: string;
}

interface NodeJson {
  readonly node: string;
  readonly here: boolean;
}

interface AwakeJson {
  readonly id: string;
  readonly headOffset: number;
  readonly storedOffset: number;
  readonly present: number;
  readonly subscriptions: number;
}

/** How long a node may take for an answer, ms. */
const ANSWER_MS = 3_000;
/** Messages of a node's log that are told. */
const LINES_TOLD = 12;
/** Characters of a line that is broken off into the next. */
const WRAPPED_CHARACTERS = 300;
/** So few shards in one state are told by number. */
const SHARDS_TOLD = 8;
/** Counts that tell how a node is; those that are zero are left out. */
const COUNTS =
  /^confab_(connections|queue_depth|pending_bytes|lines|forwarding|landings|shards_owned|shards_unowned|nodes|rooms_awake|store_breaker_state|store_up|store_failures_total|store_timeouts_total|store_oldest_seconds|refusals_total|connections_closed_total|gaps_total|resumes_total)(\{\S*\})? \S+$/gm;

/** The shards of which nodes know different owners, or one that is none of these names. */
export function disagreements(views: readonly (readonly ShardJson[])[], names: ReadonlySet<string>): string {
  const told = (views[0] ?? []).flatMap(({ shard }) => {
    const known = views.map((view) => view.find((one) => one.shard === shard));
    const owners = new Set(known.map((one) => one?.owner ?? "nobody"));
    if (owners.size === 1 && names.has(known[0]?.owner ?? "")) return [];
    return [`${shard}: ${known.map((one) => `${one?.owner ?? "nobody"} term ${one?.term}`).join(" | ")}`];
  });
  const more = told.length > SHARDS_TOLD ? `; and ${told.length - SHARDS_TOLD} more` : "";
  return told.length > 0 ? `${told.slice(0, SHARDS_TOLD).join("; ")}${more}` : "none: it did not last";
}

/** What a node is called by its process. */
export async function nameOf(server: Server): Promise<string> {
  const { items } = await must<{ items: readonly NodeJson[] }>(server, "GET /api/admin/nodes", { token: ADMIN });
  return items.find(({ here }) => here)?.node ?? "";
}

/** All shards as a node knows them. */
export async function shardsOf(server: Server): Promise<readonly ShardJson[]> {
  return (await must<{ items: readonly ShardJson[] }>(server, "GET /api/admin/shards", { token: ADMIN })).items;
}

/** All that is to be told of a node; `rooms`: room → who asks about it. Never rejects. */
export async function nodeLines(node: NodeSeen, rooms: ReadonlyMap<string, string>): Promise<readonly string[]> {
  const { label, server, lives } = node;
  const { ended } = server;
  const answers = ended
    ? [`its process has ended: ${ended.signal ?? ended.code}`]
    : await Promise.all([
        answerOf("ready", readyOf(server)),
        answerOf("shards", shardsLine(server)),
        answerOf("rooms awake", awakeLine(server, new Set(rooms.keys()))),
        ...[...rooms].map(([room, who]) => answerOf(`room ${room}`, roomLine(server, room, who))),
        answerOf("counts", countsLine(server)),
      ]);
  return [`node ${label}`, ...answers.flatMap(wrapped).map((line) => `  ${line}`), ...logLines(lives)];
}

/** A long line as some that are not cut, broken after commas. */
function wrapped(line: string): readonly string[] {
  const lines: string[] = [];
  let rest = line;
  while (rest.length > WRAPPED_CHARACTERS) {
    const end = rest.lastIndexOf(", ", WRAPPED_CHARACTERS) + 1;
    if (end === 0) break;
    lines.push(rest.slice(0, end));
    rest = `  ${rest.slice(end + 1)}`;
  }
  return [...lines, rest];
}

async function answerOf(what: string, answer: Promise<string>): Promise<string> {
  const told = await within(answer, ANSWER_MS, "The answer").catch((error: Error) => {
    const { message, cause } = error;
    return cause instanceof Error ? `${message}: ${cause.message}` : message;
  });
  return `${what}: ${told}`;
}

async function readyOf(server: Server): Promise<string> {
  const { status, body } = await call(server, "GET /health/ready");
  return `${status} ${JSON.stringify(body)}`;
}

async function shardsLine(server: Server): Promise<string> {
  const shards = await shardsOf(server);
  const owners = new Map<string, { shards: number; terms: number }>();
  for (const { owner = "nobody", term } of shards) {
    const of = owners.get(owner) ?? { shards: 0, terms: 0 };
    owners.set(owner, { shards: of.shards + 1, terms: Math.max(of.terms, term) });
  }
  const own = [...owners].map(([owner, { shards: count, terms }]) => `${owner} ${count} up to term ${terms}`);
  const states = new Map<string, number[]>();
  for (const { shard, state } of shards) states.set(state, [...(states.get(state) ?? []), shard]);
  const here = [...states].map(([state, of]) => `${state} ${of.length > SHARDS_TOLD ? of.length : `shards ${of}`}`);
  return `${own.join(", ")}; here ${here.join(", ")}`;
}

async function awakeLine(server: Server, rooms: ReadonlySet<string>): Promise<string> {
  const request = `GET /api/admin/rooms?node=${await nameOf(server)}&limit=200`;
  const { items } = await must<{ items: readonly AwakeJson[] }>(server, request, { token: ADMIN });
  const told = items.filter(({ id }) => rooms.has(id)).map(({ id, ...of }) => `${id} ${JSON.stringify(of)}`);
  return `${items.length}, of those above ${told.join(", ") || "none"}`;
}

async function roomLine(server: Server, room: string, who: string): Promise<string> {
  const token = tokenFor(who);
  const [view, page] = await Promise.all([
    call<{ headOffset?: number; storedOffset?: number }>(server, `GET /api/rooms/${room}`, { token }),
    call<{ items?: readonly { offset: number; term: number; sender: string; clientMessageId?: string }[] }>(
      server,
      `GET /api/rooms/${room}/messages?limit=3`,
      { token },
    ),
  ]);
  const { headOffset, storedOffset } = view.body;
  const state = view.status === 200 ? `head ${headOffset}, stored ${storedOffset}` : JSON.stringify(view.body);
  const last = (page.body.items ?? []).map(
    ({ offset, term, sender, clientMessageId }) => `(${offset}, term ${term}) ${clientMessageId ?? sender}`,
  );
  return `${view.status} ${state}; history ${page.status} ends with ${last.join(", ") || JSON.stringify(page.body)}`;
}

async function countsLine(server: Server): Promise<string> {
  const text = await must<string>(server, "GET /metrics", { token: ADMIN });
  const told = (text.match(COUNTS) ?? []).filter((line) => !line.endsWith(" 0") || line.includes("breaker"));
  return told.map((line) => line.slice("confab_".length)).join(", ");
}

/** What was logged last over all lives: time, level, message, and the rest of the fields; repeats as one line. */
function logLines(lives: readonly (readonly string[])[]): readonly string[] {
  const all = lives.flatMap((lines, life) => [
    ...(life > 0 ? [`-- process ${life + 1} at this place --`] : []),
    ...lines,
  ]);
  const last = new Map<string, { line: string; times: number }>();
  for (const { what, line } of all.map(plain)) {
    const times = (last.get(what)?.times ?? 0) + 1;
    last.delete(what);
    last.set(what, { line, times });
  }
  const told = [...last.values()].slice(-LINES_TOLD);
  const shown = told.map(({ line, times }) => `    ${line}${times > 1 ? ` (and ${times - 1} before)` : ""}`);
  return [`  log, of ${all.length} lines each message once where it came last:`, ...shown];
}

/** A line in short, and what repeats of it have alike. */
function plain(line: string): { readonly what: string; readonly line: string } {
  if (!line.startsWith("{")) return { what: line, line };
  try {
    const { level, time, msg, pid: _, err, ...rest } = JSON.parse(line) as Record<string, unknown>;
    const fault = (err as { readonly message?: string } | undefined)?.message ?? "";
    const what = `${level} ${msg}`;
    const clock = String(time).slice("yyyy-mm-ddT".length);
    return { what, line: `${clock} ${what} ${JSON.stringify(rest)} ${fault}`.trim() };
  } catch {
    return { what: line, line };
  }
}
