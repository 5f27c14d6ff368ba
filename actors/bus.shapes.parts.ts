/** The parts of which the shapes of the bus are made. */
import Type, { type TSchema } from "typebox";
import { CODES, type CodeWord } from "./codes.ts";
import { isUserId } from "./entry.ts";

/** Offsets, terms, numbers, counts. */
export const whole = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER });

/** Any text. */
export const text = Type.String();

/** A room's id. */
export const room = Type.String({ pattern: "^[a-z0-9-]{1,64}$" });

/** A user's id. */
export const user = Type.Refine(Type.String(), isUserId);

/** Bytes, as a view of any kind. */
export const bytes = Type.Unsafe<Uint8Array>(Type.Refine(Type.Unknown(), (value) => value instanceof Uint8Array));

/** A word of the table of codes. */
export const code = Type.Unsafe<CodeWord>(Type.Refine(Type.String(), (value) => Object.hasOwn(CODES, value)));

/** A part that may be missing or undefined: bytes say both alike. */
export const maybe = <S extends TSchema>(schema: S) => Type.Union([schema, Type.Undefined()]);

/** The numbers and the room of an entry: the packed form says the rest. */
export const decided = Type.Object({
  room,
  offset: Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER }),
  term: whole,
  prevTerm: whole,
  at: Type.Number(),
  count: whole,
  ref: whole,
});

/** A whole entry. */
export const entry = Type.Object({
  ...decided.properties,
  event: Type.Union([
    Type.Literal("message"),
    Type.Literal("edited"),
    Type.Literal("deleted"),
    Type.Literal("reaction"),
    Type.Literal("member"),
  ]),
  sender: text,
  senderName: text,
  key: text,
  contentType: text,
  headers: Type.Array(text),
  body: bytes,
  text: Type.Boolean(),
});

/** An entry with what became of it. */
export const archived = Type.Object({
  entry,
  fate: maybe(
    Type.Object({
      rev: whole,
      editedAt: Type.Optional(Type.Number()),
      deletedAt: Type.Optional(Type.Number()),
      body: Type.Optional(bytes),
      contentType: Type.Optional(text),
      text: Type.Optional(Type.Boolean()),
      reactions: Type.Optional(Type.Record(Type.String(), Type.Array(text))),
    }),
  ),
});
