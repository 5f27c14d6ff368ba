/**
 * The shapes of what comes over the bus from other nodes. A wire may bring anything: bytes that were damaged, of
 * another version, or of somebody who only knows where the store is. What has not its shape is dropped where it is
 * decoded, as a word that was lost; whether what has it is also true, no shape can tell.
 */
import Type, { type Static, type TSchema } from "typebox";
import { Compile } from "typebox/compile";
import { CALL_SHAPES } from "./bus.shapes.calls.ts";
import { bytes, code, decided, entry, maybe, room, text, user, whole } from "./bus.shapes.parts.ts";
import type { Beat, Notice, Pack, Signal } from "./bus.ts";
import type { Entry } from "./entry.ts";
import type { Draft } from "./posting.ts";
import type { Word } from "./words.ts";

/** Bytes of one draft with its headers: with an edited body beside it, it fits into a document of 16 MiB. */
const DRAFT_BYTES_MOST = 8_000_000 + 1_048_576;

/** A check of one type, whose schema says no less than the type does. */
function guardOf<T>() {
  return <S extends TSchema>(schema: Static<S> extends T ? S : never): ((value: unknown) => value is T) => {
    const compiled = Compile(schema);
    return (value: unknown): value is T => compiled.Check(value);
  };
}

/** A check for each kind, so that a value is looked at once. */
type Kinds<T extends { readonly kind: string }> = { readonly [K in T["kind"]]: (value: unknown) => boolean };

function isOf<T extends { readonly kind: string }>(kinds: Kinds<T>, value: unknown): value is T {
  const kind: unknown = typeof value === "object" && value !== null && "kind" in value ? value.kind : undefined;
  return typeof kind === "string" && Object.hasOwn(kinds, kind) && kinds[kind as T["kind"]](value);
}

const signal = Type.Object({
  room,
  event: Type.Union([
    Type.Literal("typing"),
    Type.Literal("presence"),
    Type.Literal("read"),
    Type.Literal("delivered"),
  ]),
  user,
  state: text,
  offset: whole,
  term: whole,
});

/** Whether these are signals. */
export const areSignals = guardOf<readonly Signal[]>()(Type.Array(signal));

const users = Type.Array(user);

type NoticeOf<K extends Notice["kind"]> = Extract<Notice, { kind: K }>;

const NOTICES: Kinds<Notice> = {
  entry: guardOf<NoticeOf<"entry">>()(Type.Object({ kind: Type.Literal("entry"), user, entry })),
  notice: guardOf<NoticeOf<"notice">>()(
    Type.Object({
      kind: Type.Literal("notice"),
      user,
      event: Type.Union([Type.Literal("added"), Type.Literal("removed"), Type.Literal("direct")]),
      room,
      by: text,
    }),
  ),
  revoked: guardOf<NoticeOf<"revoked">>()(
    Type.Object({ kind: Type.Literal("revoked"), user, token: maybe(text), beforeMs: Type.Number() }),
  ),
  close: guardOf<NoticeOf<"close">>()(Type.Object({ kind: Type.Literal("close"), connection: text })),
  owner: guardOf<NoticeOf<"owner">>()(
    Type.Object({ kind: Type.Literal("owner"), node: text, shards: Type.Array(Type.Tuple([whole, whole])) }),
  ),
  farewell: guardOf<NoticeOf<"farewell">>()(Type.Object({ kind: Type.Literal("farewell"), node: text })),
  dissolved: guardOf<NoticeOf<"dissolved">>()(Type.Object({ kind: Type.Literal("dissolved"), room })),
  changed: guardOf<NoticeOf<"changed">>()(
    Type.Object({
      kind: Type.Literal("changed"),
      what: Type.Union([Type.Literal("entries"), Type.Literal("markers")]),
      rooms: Type.Array(room),
    }),
  ),
  offline: guardOf<NoticeOf<"offline">>()(Type.Object({ kind: Type.Literal("offline"), node: text, users })),
  online: guardOf<NoticeOf<"online">>()(Type.Object({ kind: Type.Literal("online"), node: text, users })),
};

/** Whether this is a notice of a kind that is known here. */
export function isNotice(value: unknown): value is Notice {
  return isOf(NOTICES, value);
}

/** Whether this is what a node says of itself while it lives. */
export const isBeat = guardOf<Beat>()(
  Type.Object({
    node: Type.String({ minLength: 1 }),
    draining: Type.Boolean(),
    since: Type.Number(),
    connections: whole,
    shards: whole,
    unable: Type.Optional(maybe(Type.Boolean())),
    alike: Type.Optional(
      maybe(Type.Object({ shards: whole, dataSet: text, signs: maybe(text), takes: Type.Array(text) })),
    ),
  }),
);

function bytesOf({ body, headers, contentType, senderName, key }: Draft): number {
  return headers.reduce(
    (sum, one) => sum + one.length,
    body.length + contentType.length + senderName.length + key.length,
  );
}

const draft = Type.Refine(
  Type.Object({
    event: Type.Literal("message"),
    sender: user,
    senderName: text,
    key: Type.String({ pattern: "^[ce]/" }),
    ref: whole,
    contentType: text,
    headers: Type.Array(text),
    body: bytes,
    text: Type.Boolean(),
  }),
  (one) => one.headers.length % 2 === 0 && bytesOf(one) <= DRAFT_BYTES_MOST,
);

const parcel = Type.Object({
  room,
  line: whole,
  first: whole,
  oldest: whole,
  again: whole,
  term: whole,
  drafts: Type.Array(draft),
  urgent: Type.Array(whole),
  passed: Type.Array(whole),
});

const detail = maybe(text);
const retryAfterMs = maybe(Type.Number());

const answers = Type.Object({
  room,
  line: whole,
  answers: Type.Array(
    Type.Union([
      Type.Object({
        what: Type.Union([Type.Literal("accepted"), Type.Literal("stored")]),
        at: whole,
        offset: whole,
        term: whole,
      }),
      Type.Object({ what: Type.Literal("refused"), at: whole, code, detail, retryAfterMs }),
    ]),
  ),
  expected: maybe(whole),
  astray: Type.Boolean(),
});

const crowd = Type.Object({
  room,
  came: Type.Array(Type.Object({ user, name: text })),
  went: users,
  whole: Type.Boolean(),
  count: whole,
  digest: whole,
  believed: users,
});

type WordOf<K extends Word["kind"]> = Extract<Word, { kind: K }>;

const WORDS: Kinds<Word> = {
  sends: guardOf<WordOf<"sends">>()(Type.Object({ kind: Type.Literal("sends"), parcels: Type.Array(parcel) })),
  answers: guardOf<WordOf<"answers">>()(Type.Object({ kind: Type.Literal("answers"), lines: Type.Array(answers) })),
  call: guardOf<WordOf<"call">>()(
    Type.Object({ kind: Type.Literal("call"), id: whole, method: text, args: Type.Array(Type.Unknown()) }),
  ),
  result: guardOf<WordOf<"result">>()(
    Type.Object({ kind: Type.Literal("result"), id: whole, method: text, value: Type.Unknown() }),
  ),
  refusal: guardOf<WordOf<"refusal">>()(
    Type.Object({ kind: Type.Literal("refusal"), id: whole, code, detail, retryAfterMs }),
  ),
  astray: guardOf<WordOf<"astray">>()(Type.Object({ kind: Type.Literal("astray"), id: whole })),
  crowds: guardOf<WordOf<"crowds">>()(Type.Object({ kind: Type.Literal("crowds"), crowds: Type.Array(crowd) })),
  whoIsThere: guardOf<WordOf<"whoIsThere">>()(
    Type.Object({ kind: Type.Literal("whoIsThere"), rooms: Type.Array(room) }),
  ),
  prepare: guardOf<WordOf<"prepare">>()(
    Type.Object({ kind: Type.Literal("prepare"), shard: whole, rooms: Type.Array(room) }),
  ),
  prepared: guardOf<WordOf<"prepared">>()(Type.Object({ kind: Type.Literal("prepared"), shard: whole })),
  pass: guardOf<WordOf<"pass">>()(Type.Object({ kind: Type.Literal("pass"), shard: whole, lock: text, term: whole })),
};

/**
 * Whether this is a word of a kind that is known here. What a call of a method that is known here asks or answers
 * is looked at too; of others it is only passed on.
 */
export function isWord(value: unknown): value is Word {
  if (!isOf(WORDS, value)) return false;
  if (value.kind !== "call" && value.kind !== "result") return true;
  const shapes = CALL_SHAPES.get(value.method);
  if (!shapes) return true;
  return value.kind === "call" ? shapes.args(value.args) : shapes.value(value.value);
}

const entries = Compile(Type.Array(decided, { minItems: 1 }));

/** Whether these are entries of one room that follow each other, the first one an entry of term `prevTerm`. */
export function isPack({ room: of, prevTerm, entries: list }: Pick<Pack, "room" | "prevTerm" | "entries">): boolean {
  if (!entries.Check(list)) return false;
  let before = (list[0] as Entry).offset - 1;
  let term = prevTerm;
  for (const one of list) {
    if (one.room !== of || one.offset !== before + 1 || one.prevTerm !== term || one.term < term) return false;
    before = one.offset;
    term = one.term;
  }
  return true;
}
