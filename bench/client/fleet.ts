/** All connections of a load client: opened with a bound on handshakes in progress, counted together, closed together. */
import { toBackground } from "../background.ts";
import { cpuSeconds } from "../usage.ts";
import { Connection, takeReads } from "./connection.ts";
import { signToken } from "./frames.ts";
import type { Open, Opened, Tallied, Tally } from "./messages.ts";

/** Connections of one source address; one address has about 28,000 ports on a common Linux. */
const CONNECTIONS_PER_SOURCE = 5_000;
const SOURCES_PER_GROUP = 10;
const FIRST_SOURCE = 2;
/** Above this a nap is halved, below a half of it doubled; a socket's receive window is at least 64 KiB. */
const READ_BYTES_AIM = 16_384;
const NAP_MS_MIN = 1;
/** What comes beyond what was sent is waited for this long. */
const QUIET_MS = 400;
/** What is missing is waited for until nothing has come for this long. */
const MISSING_MS = 3_000;
const QUIET_LIMIT_MS = 30_000;
const QUIET_POLL_MS = 20;
/** Looks without anything new, at least: a process that was not given the core has read nothing meanwhile. */
const QUIET_LOOKS = 10;
const OPEN_POLL_MS = 1_000;
/** No connection opened for this long: the server does not answer. */
const OPEN_LIMIT_MS = 30_000;

/** CPU seconds of the server and of the load clients, and the time, at one moment. */
export interface Instant {
  readonly at: number;
  readonly server: number;
  readonly client: number;
}

/** Lets `ms` pass. */
export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Waits for the work; rejects when a count stands still for too long. */
async function progressing(work: Promise<unknown>, count: () => number): Promise<void> {
  let [seen, since] = [count(), performance.now()];
  let timer: NodeJS.Timeout | undefined;
  const stuck = new Promise<never>((_, reject) => {
    timer = setInterval(() => {
      if (count() !== seen) [seen, since] = [count(), performance.now()];
      else if (performance.now() - since > OPEN_LIMIT_MS) reject(new Error(`only ${seen} connections could be opened`));
    }, OPEN_POLL_MS);
  });
  await Promise.race([work, stuck]).finally(() => clearInterval(timer));
}

/** The open connections. */
export class Fleet {
  readonly connections: Connection[] = [];
  #serverPid = 0;
  #failure: Error | undefined;
  #bases: number[] = [];
  #disorderedBase = 0;
  #nap: NodeJS.Immediate | undefined;
  #wish: Open | undefined;

  /** Opens more connections; rejects with the first failure. */
  async open(wish: Open): Promise<Opened> {
    this.#serverPid = wish.serverPid;
    const made = this.#make(wish);
    const before = this.instant([]);
    let [next, opened] = [0, 0];
    const worker = async (): Promise<void> => {
      for (let connection = made[next++]; connection !== undefined; connection = made[next++]) {
        await connection.open();
        opened += 1;
      }
    };
    const workers = Array.from({ length: Math.min(wish.inFlight, made.length) }, worker);
    await progressing(Promise.all(workers), () => opened);
    const after = this.instant([]);
    this.#wish = wish;
    for (const connection of made) {
      this.connections.push(connection);
      this.#watch(connection);
    }
    return {
      connections: made.length,
      seconds: after.at - before.at,
      serverCpuSeconds: after.server - before.server,
      clientCpuSeconds: after.client - before.client,
    };
  }

  /** Closes the connection at this place and opens one of a new user there, as the last `open` was wished for. */
  async replace(place: number, generation: number): Promise<void> {
    const [old, wish] = [this.connections[place], this.#wish];
    if (old === undefined || wish === undefined) return;
    old.close();
    const token = this.#token(wish, `${place}-${generation}`);
    const opened = new Connection({ ...old.place, token });
    this.connections[place] = opened;
    await opened.open();
    this.#watch(opened);
  }

  /** Closes all. */
  close(): void {
    for (const connection of this.connections) connection.close();
    this.connections.length = 0;
    this.#failure = undefined;
    if (this.#nap !== undefined) clearImmediate(this.#nap);
    this.#nap = undefined;
  }

  /** Reads all CPU clocks here, so that they cover exactly the timed part. */
  instant(helperPids: readonly number[]): Instant {
    const client = helperPids.reduce((sum, pid) => sum + cpuSeconds(pid), cpuSeconds(process.pid));
    return { server: cpuSeconds(this.#serverPid), client, at: performance.now() / 1_000 };
  }

  /** Throws the failure of a connection, if there was one. */
  check(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** From now on sleeps up to `ms` between two turns of the event loop. */
  nap(ms: number): void {
    const sleeper = new Int32Array(new SharedArrayBuffer(4));
    let length = NAP_MS_MIN;
    const turn = (): void => {
      const mean = takeReads();
      if (mean > READ_BYTES_AIM) length = Math.max(NAP_MS_MIN, length / 2);
      else if (mean < READ_BYTES_AIM / 2) length = Math.min(ms, length * 2);
      Atomics.wait(sleeper, 0, 0, length);
      this.#nap = setImmediate(turn);
    };
    if (this.#nap !== undefined) return;
    // It yields to the one that measures.
    toBackground(process.pid);
    this.#nap = setImmediate(turn);
  }

  /** Remembers all counts. */
  mark(): void {
    this.#bases = this.connections.map((connection) => connection.counter.messages);
    this.#disorderedBase = this.#disordered();
  }

  /** Waits for what was sent since the mark, then for quiet, and compares. */
  async tally(wish: Tally): Promise<Tallied> {
    await this.#quiet(wish);
    this.check();
    let [deliveries, lost, doubled, messageBytes, receiptBytes] = [0, 0, 0, 0, 0];
    this.connections.forEach((connection, i) => {
      const got = connection.counter.messages - (this.#bases[i] ?? 0);
      const more = got - (wish.sent[connection.place.room] ?? 0);
      deliveries += got;
      if (more < 0) lost -= more;
      else doubled += more;
      messageBytes ||= connection.counter.messageBytes;
      receiptBytes ||= connection.counter.receiptBytes;
    });
    const sampled = this.connections.filter((connection) => connection.sampled).length;
    const disordered = this.#disordered() - this.#disorderedBase;
    return { deliveries, lost, doubled, disordered, sampled, messageBytes, receiptBytes };
  }

  #make(wish: Open): Connection[] {
    const { port, dialect } = wish;
    const first = this.connections.length;
    const base = FIRST_SOURCE + wish.group * SOURCES_PER_GROUP;
    return Array.from({ length: wish.rooms.length * wish.perRoom }, (_, k) => {
      const i = first + k;
      const room = wish.rooms[Math.floor(k / wish.perRoom)] ?? "";
      return new Connection({
        port,
        dialect,
        room,
        source: `127.0.0.${base + Math.floor(i / CONNECTIONS_PER_SOURCE)}`,
        token: this.#token(wish, String(i)),
        sampled: wish.sampleEvery > 0 && i % wish.sampleEvery === 0,
        replay: wish.replay?.[room],
        replayed: wish.replayed ?? 0,
      });
    });
  }

  #token(wish: Open, user: string): string {
    return wish.dialect === "stomp" ? signToken(wish.secret, `bench-${wish.group}-${user}`) : "";
  }

  #watch(connection: Connection): void {
    connection.onFailure = (error) => {
      this.#failure ??= error;
    };
  }

  #messages(): number {
    return this.connections.reduce((sum, connection) => sum + connection.counter.messages, 0);
  }

  #disordered(): number {
    return this.connections.reduce((sum, connection) => sum + connection.disordered, 0);
  }

  async #quiet(wish: Tally): Promise<void> {
    const deadline = performance.now() + QUIET_LIMIT_MS;
    let [seen, since, looks] = [this.#messages(), performance.now(), 0];
    const patience = (): number => (this.#complete(wish) ? QUIET_MS : MISSING_MS);
    while (performance.now() < deadline && (looks < QUIET_LOOKS || performance.now() - since < patience())) {
      await pause(QUIET_POLL_MS);
      looks += 1;
      const now = this.#messages();
      if (now !== seen) [seen, since, looks] = [now, performance.now(), 0];
    }
  }

  /** Whether every connection has had at least what was sent to its room since the mark. */
  #complete({ sent }: Tally): boolean {
    return this.connections.every(({ counter, place }, i) => {
      return counter.messages - (this.#bases[i] ?? 0) >= (sent[place.room] ?? 0);
    });
  }
}
