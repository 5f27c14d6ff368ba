/** What the calls between nodes ask and answer, by method (`asking.ts`, `remote.ts`, `routed.ts`, `administration.ts`). */
import Type, { type TSchema } from "typebox";
import { Compile } from "typebox/compile";
import { archived, bytes, maybe, room, text, user, whole } from "./bus.shapes.parts.ts";

/** The checks of one method. */
export interface CallShapes {
  readonly args: (value: unknown) => boolean;
  readonly value: (value: unknown) => boolean;
}

const position = Type.Object({ offset: whole, term: whole });
const grant = Type.Object({ accepted: position, head: position, term: whole });
const caller = Type.Object({ id: text, name: text });
const role = Type.Union([Type.Literal("admin"), Type.Literal("member"), Type.Literal("none")]);
const roomType = Type.Union([Type.Literal("public"), Type.Literal("private"), Type.Literal("direct")]);
const member = Type.Object({ room, user, name: text, role, joinedAt: Type.Number(), rev: whole });
const message = Type.Object({
  body: bytes,
  text: Type.Boolean(),
  contentType: text,
  headers: Type.Array(text),
  clientMessageId: maybe(text),
});
const roomRecord = Type.Object({
  id: room,
  name: text,
  type: roomType,
  createdAt: Type.Number(),
  createdBy: text,
  pair: Type.Optional(Type.Tuple([text, text])),
  deletedAt: Type.Optional(Type.Number()),
  rev: whole,
});
const roomView = Type.Object({
  id: room,
  name: text,
  type: roomType,
  role,
  headOffset: whole,
  storedOffset: whole,
  unread: Type.Number(),
  readOffset: whole,
  lastMessage: maybe(archived),
  peer: maybe(text),
});
const pageOf = Type.Object({ cursor: Type.Optional(maybe(text)), limit: Type.Number() });
const some = Type.Optional(maybe(Type.Number()));
const historyQuery = Type.Object({ after: some, before: some, fromMs: some, toMs: some, limit: Type.Number() });
const texts = Type.Array(text);
const number = Type.Number();
/** Of which nobody reads the answer. */
const nothing = Type.Unknown();

/** Arguments, then the answer. */
const SCHEMAS: Readonly<Record<string, readonly [args: readonly TSchema[], value: TSchema]>> = {
  "room.grant": [[room, text], grant],
  "room.head": [[room], grant],
  "room.strangers": [[room, texts], texts],
  "room.present": [[room], Type.Array(user)],
  "room.typing": [[room, text, Type.Boolean()], nothing],
  "room.mark": [
    [room, text, Type.Object({ kind: Type.Union([Type.Literal("read"), Type.Literal("delivered")]), offset: number })],
    nothing,
  ],
  "chat.room": [[caller, room], roomView],
  "chat.renameRoom": [[caller, room, text], roomView],
  "chat.deleteRoom": [[caller, room], nothing],
  "chat.join": [[caller, room], roomView],
  "chat.leave": [[caller, room], nothing],
  "chat.members": [[caller, room, pageOf], Type.Object({ items: Type.Array(member), next: maybe(text) })],
  "chat.addMember": [[caller, room, Type.Object({ id: text, name: text, role })], member],
  "chat.addFirst": [
    [
      caller,
      room,
      Type.Object({ first: Type.Union([Type.Literal("admin"), Type.Literal("member")]), others: Type.Array(user) }),
    ],
    Type.Boolean(),
  ],
  "chat.setRole": [[caller, room, text, role], member],
  "chat.removeMember": [[caller, room, text], nothing],
  "chat.presence": [
    [caller, room],
    Type.Object({ count: whole, users: Type.Array(Type.Object({ id: user, name: text, typing: Type.Boolean() })) }),
  ],
  "chat.markRead": [[caller, room, number], Type.Object({ readOffset: whole, unread: number })],
  "chat.history": [
    [caller, room, historyQuery],
    Type.Object({ items: Type.Array(archived), storedOffset: whole, more: Type.Boolean() }),
  ],
  "chat.postKeyed": [
    [caller, room, message, Type.Object({ key: Type.String({ pattern: "^[ce]/" }), again: Type.Boolean() })],
    whole,
  ],
  "chat.amend": [[caller, room, number, message], nothing],
  "chat.deleteMessage": [[caller, room, number], nothing],
  "chat.react": [[caller, room, number, Type.Object({ reaction: text, on: Type.Boolean() })], archived],
  "chat.views": [[caller, Type.Array(roomRecord)], Type.Array(roomView)],
  "chat.countsOf": [[caller, texts], Type.Record(Type.String(), whole)],
  "node.connections": [
    [text, number],
    Type.Array(
      Type.Object({ id: text, node: text, user: text, address: text, connectedAt: number, subscriptions: whole }),
    ),
  ],
  "node.rooms": [
    [text, number],
    Type.Array(
      Type.Object({
        id: room,
        node: text,
        headOffset: whole,
        storedOffset: whole,
        present: whole,
        subscriptions: whole,
      }),
    ),
  ],
  "node.close": [[text], Type.Boolean()],
};

/** By method. */
export const CALL_SHAPES: ReadonlyMap<string, CallShapes> = new Map(
  Object.entries(SCHEMAS).map(([method, [args, value]]) => [
    method,
    { args: checkOf(Type.Tuple([...args])), value: checkOf(value) },
  ]),
);

function checkOf(schema: TSchema): (value: unknown) => boolean {
  const compiled = Compile(schema);
  return (value) => compiled.Check(value);
}
