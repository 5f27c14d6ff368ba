/** The peers' protocols by name. */
import { centrifugo } from "./centrifugo.ts";
import { nats } from "./nats.ts";
import { socketIo } from "./socketio.ts";
import { rabbitMq, spring } from "./stomp.ts";
import type { Wire } from "./wire.ts";

const WIRES = { centrifugo, nats, rabbitmq: rabbitMq, socketio: socketIo, spring } as const;

/** A peer's protocol. */
export type PeerDialect = keyof typeof WIRES;

/** The protocol of that name; nothing where it is none of a peer. */
export function peerWire(dialect: string): Wire | undefined {
  return Object.hasOwn(WIRES, dialect) ? WIRES[dialect as PeerDialect] : undefined;
}
