/**
 * What MongoDB holds is looked at where it enters: another program, a hand or a restore may have written anything. A
 * document that is not what Confab writes is never shown and never passed over: the read rejects with `DamagedRow`,
 * which names it. Checked by hand, field by field: an entry costs some 0.3 us, a twentieth of what it takes to read it from its bytes.
 */
import type { Document } from "mongodb";
import { DamagedRow } from "../actors/codes.ts";

const EVENTS: ReadonlySet<unknown> = new Set(["message", "edited", "deleted", "reaction", "member"]);
const ROOM_TYPES: ReadonlySet<unknown> = new Set(["public", "private", "direct"]);
const ROLES: ReadonlySet<unknown> = new Set(["admin", "member", "none"]);
const MARK = /^\d{16}\.\d{16}$/;

type Check = (value: unknown) => boolean;
type Shape = readonly (readonly [field: string, fits: Check])[];

const isText: Check = (value) => typeof value === "string";
/** A count, an offset, a term: -1 is the `rev` below all. */
const isWhole: Check = (value) => Number.isSafeInteger(value);
const isNumber: Check = (value) => typeof value === "number" && Number.isFinite(value);
const isBoolean: Check = (value) => typeof value === "boolean";
const isBytes: Check = (value) => value instanceof Uint8Array;
const isTexts: Check = (value) => Array.isArray(value) && value.every(isText);
const isPair: Check = (value) => isTexts(value) && (value as unknown[]).length === 2;
/** Names and values in turn. */
const isHeaders: Check = (value) => isTexts(value) && (value as unknown[]).length % 2 === 0;
const isPresent: Check = (value) => typeof value === "object" && value !== null;
const isReactions: Check = (value) =>
  Array.isArray(value) && value.every((one) => isPresent(one) && isText(one.reaction) && isTexts(one.users));
const orNone =
  (fits: Check): Check =>
  (value) =>
    value === undefined || fits(value);

const FATE: Shape = [
  ["rev", isWhole],
  ["editedAt", orNone(isNumber)],
  ["deletedAt", orNone(isNumber)],
  ["body", orNone(isBytes)],
  ["contentType", orNone(isText)],
  ["text", orNone(isBoolean)],
  ["reactions", orNone(isReactions)],
];

const isFate: Check = (value) => isPresent(value) && wrongField(value as Document, FATE) === undefined;

/** The fields of every document that is read whole. */
const SHAPES = {
  entries: [
    ["room", isText],
    ["term", isWhole],
    ["prevTerm", isWhole],
    ["event", (value) => EVENTS.has(value)],
    ["sender", isText],
    ["senderName", isText],
    ["key", isText],
    ["at", isNumber],
    ["count", isWhole],
    ["ref", orNone(isWhole)],
    ["contentType", orNone(isText)],
    ["headers", orNone(isHeaders)],
    ["body", isBytes],
    ["text", isBoolean],
    ["fate", orNone(isFate)],
  ],
  /** The last of a log, as far as it is asked for. */
  heads: [
    ["term", isWhole],
    ["count", isWhole],
    ["at", isNumber],
  ],
  /** What stands at a place, as far as it is asked for. */
  standing: [
    ["room", isText],
    ["term", isWhole],
    ["key", isText],
  ],
  rooms: [
    ["name", isText],
    ["type", (value) => ROOM_TYPES.has(value)],
    ["createdAt", isNumber],
    ["createdBy", isText],
    ["pair", orNone(isPair)],
    ["deletedAt", orNone(isNumber)],
    ["rev", isWhole],
  ],
  members: [
    ["room", isText],
    ["user", isText],
    ["name", isText],
    ["role", (value) => ROLES.has(value)],
    ["joinedAt", isNumber],
    ["rev", isWhole],
  ],
  markers: [
    ["room", isText],
    ["user", isText],
    ["read", (value) => typeof value === "string" && MARK.test(value)],
    ["delivered", isWhole],
  ],
} as const satisfies Record<string, Shape>;

function wrongField(document: Document, shape: Shape): string | undefined {
  for (const [field, fits] of shape) if (!fits(document[field])) return field;
  return undefined;
}

/** Throws `DamagedRow` unless the document has the fields of its kind. */
export function checkDocument(kind: keyof typeof SHAPES, document: { readonly _id: unknown }): void {
  const field = wrongField(document, SHAPES[kind]);
  if (field !== undefined) throw damaged(kind, document._id, `its field ${field} is missing or of another kind`);
}

/** The refusal of a document. */
export function damaged(kind: keyof typeof SHAPES | "terms" | "settings", id: unknown, why: string): DamagedRow {
  const collection = kind === "heads" || kind === "standing" ? "entries" : kind;
  return new DamagedRow(
    `The document ${JSON.stringify(id)} of the MongoDB collection ${collection} is damaged: ${why}.`,
  );
}
