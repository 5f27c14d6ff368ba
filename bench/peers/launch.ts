/** Starting a peer that is there, beside the other servers of the bench. */
import { freePort, listening, SERVER_CORE, start, temporaryFolder } from "../process.ts";
import type { Target } from "../targets.ts";
import type { Peer } from "./peer.ts";

/** The slowest peer takes some 15 s on one core. */
const START_LIMIT_MS = 90_000;

/** Where a peer is to run. */
export interface Place {
  readonly port: number;
  /** Empty, and removed in the end. */
  readonly folder: string;
}

/** What to run: a script of the build under Node, or a command. */
export type Launch = ({ readonly script: string } | { readonly command: string }) & {
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
};

/** Starts a peer and waits until it listens. */
export async function startPeer(peer: Peer, launch: (place: Place) => Launch): Promise<Target> {
  const place: Place = { port: await freePort(), folder: temporaryFolder() };
  const server = start({ ...launch(place), core: SERVER_CORE });
  try {
    await listening(server, place.port, START_LIMIT_MS);
  } catch (error) {
    await server.end();
    throw error;
  }
  return {
    name: peer.name,
    dialect: peer.dialect,
    port: place.port,
    pid: server.pid,
    secret: "",
    rooms: (count) => Promise.resolve(Array.from({ length: count }, (_, i) => `room${i}`)),
    end: () => server.end(),
  };
}
