/** What the bench knows of a server that it compares Confab with. */
import type { PeerDialect } from "../client/peers/wires.ts";
import type { Target } from "../targets.ts";

/** Windows that every peer is asked to stand. */
export const WINDOWS = [1, 16, 64] as const;

/** Why a peer does not take part: a tool that is not on this machine, a package that cannot be had. */
export class PeerMissing extends Error {
  constructor(sentence: string) {
    super(sentence);
    this.name = "PeerMissing";
  }
}

/** A peer did not stand a load: it ended a connection, or itself. */
export class PeerFailed extends Error {
  constructor(sentence: string) {
    super(sentence);
    this.name = "PeerFailed";
  }
}

/** A peer. */
export interface Peer {
  /** As its makers write it. */
  readonly name: string;
  readonly version: string;
  readonly dialect: PeerDialect;
  /** How many messages are outstanding, one load after another. */
  readonly windows: readonly number[];
  /** Seconds of load before anything counts: compilers at run time take theirs. */
  readonly warmSeconds: number;
  /** Seconds of a timed part: several times what a full window takes it. */
  readonly seconds: number;
  /**
   * Starts it on the servers' core, on 127.0.0.1; builds it first where its cache is empty.
   * @throws PeerMissing with the reason, where it cannot be had.
   */
  readonly start: () => Promise<Target>;
}
