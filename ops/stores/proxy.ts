/**
 * A TCP proxy on 127.0.0.1 between a node and a store, for drills and tests: it can cut connections, hold
 * their bytes back, and lose the answer to a request that the store has taken.
 */
import { connect, createServer, type Server, type Socket } from "node:net";

/** Whether these bytes, on their way to the store, are the request whose answer is to be lost. */
export type RequestMatch = (bytes: Buffer) => boolean;

/**
 * What becomes of a connection whose answer was lost: it is `cut` towards the node, or goes `silent`, so that
 * the node hears nothing on it ever again.
 */
export type AfterLoss = "cut" | "silent";

interface Trap {
  readonly match: RequestMatch;
  readonly after: AfterLoss;
  readonly sprung: () => void;
}

/** What a connection asks of its proxy. */
interface Gate {
  readonly isHeld: () => boolean;
  /** The trap, taken away, when these bytes spring it. */
  readonly takeTrap: (bytes: Buffer) => Trap | undefined;
}

/** One connection of the node and the one to the store that goes with it. */
class Link {
  readonly #node: Socket;
  readonly #store: Socket;
  readonly #gate: Gate;
  /** Set from the request on whose answer is lost. */
  #trap: Trap | undefined;

  constructor(sockets: { node: Socket; store: Socket }, gate: Gate) {
    this.#node = sockets.node;
    this.#store = sockets.store;
    this.#gate = gate;
    for (const socket of [this.#node, this.#store]) {
      socket.setNoDelay(true);
      // A fault of one side ends the other as well, by "close".
      socket.on("error", () => undefined);
    }
    this.#node.on("data", (bytes) => this.#toStore(bytes));
    this.#store.on("data", (bytes) => this.#toNode(bytes));
    this.#node.on("drain", () => this.#resume(this.#store)).on("close", () => this.#leave());
    this.#store.on("drain", () => this.#resume(this.#node)).on("close", () => this.#node.destroy());
    if (gate.isHeld()) this.hold();
  }

  #toStore(bytes: Buffer): void {
    this.#trap ??= this.#gate.takeTrap(bytes);
    if (!this.#store.write(bytes)) this.#node.pause();
  }

  #toNode(bytes: Buffer): void {
    const trap = this.#trap;
    if (this.#node.destroyed) return;
    if (!trap) {
      if (!this.#node.write(bytes)) this.#store.pause();
      return;
    }
    // The end of the node's side ends the store's in order, so that the store still reads all that was sent.
    if (trap.after === "cut") this.#node.destroy();
    trap.sprung();
  }

  /** The node went: the store's side ends in order, and what it still says is read and dropped. */
  #leave(): void {
    this.#store.end();
    this.#store.resume();
  }

  #resume(socket: Socket): void {
    if (!this.#gate.isHeld()) socket.resume();
  }

  hold(): void {
    this.#node.pause();
    this.#store.pause();
  }

  release(): void {
    this.#node.resume();
    this.#store.resume();
  }

  cut(): void {
    this.#node.destroy();
    this.#store.destroy();
  }
}

/** The proxy of one store. */
export class StoreProxy {
  readonly #server: Server;
  readonly #links = new Set<Link>();
  readonly #gate: Gate;
  #port: number;
  #held = false;
  #trap: Trap | undefined;

  private constructor(server: Server, port: number) {
    this.#server = server;
    this.#port = port;
    this.#gate = { isHeld: () => this.#held, takeTrap: (bytes) => this.#takeTrap(bytes) };
  }

  /** Listens on a spare port and passes connections on to `port` of 127.0.0.1. */
  static async open(port: number): Promise<StoreProxy> {
    const server = createServer();
    const proxy = new StoreProxy(server, port);
    server.on("connection", (node) => proxy.#join(node));
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(0, "127.0.0.1", resolve);
    });
    return proxy;
  }

  /** Where it listens. */
  get port(): number {
    return (this.#server.address() as { port: number }).port;
  }

  /** Open connections. */
  get connections(): number {
    return this.#links.size;
  }

  /** The same URL by way of the proxy; the URL must name host and port. */
  through(url: string): string {
    return url.replace(/(^\w+:\/\/(?:[^@/]*@)?)[^/?]+/, `$1127.0.0.1:${this.port}`);
  }

  /** Passes new connections on to another port; those that stand stay where they are. */
  lead(port: number): void {
    this.#port = port;
  }

  /** Cuts every connection, both sides, without a word; new ones are taken. */
  cut(): void {
    for (const link of this.#links) link.cut();
  }

  /** Passes no byte on, either way, on old and new connections, until `release()`. */
  hold(): void {
    this.#held = true;
    for (const link of this.#links) link.hold();
  }

  /** Passes on what was held, and everything after it. */
  release(): void {
    this.#held = false;
    for (const link of this.#links) link.release();
  }

  /**
   * Passes the next request that matches on to the store and loses all answers on its connection from then
   * on. Resolves when the first answer was lost. One at a time: a second call replaces the first.
   */
  loseAnswer(match: RequestMatch, after: AfterLoss): Promise<void> {
    return new Promise((sprung) => {
      this.#trap = { match, after, sprung };
    });
  }

  /** Ends every connection and listens no more. */
  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.cut();
    await closed;
  }

  #join(node: Socket): void {
    const store = connect(this.#port, "127.0.0.1");
    const link = new Link({ node, store }, this.#gate);
    this.#links.add(link);
    store.once("close", () => this.#links.delete(link));
  }

  #takeTrap(bytes: Buffer): Trap | undefined {
    const trap = this.#trap;
    if (!trap?.match(bytes)) return undefined;
    this.#trap = undefined;
    return trap;
  }
}
