/** What administrators ask: of this node what it knows, of every living node what only that one knows. */
import type { Services } from "./asking.ts";
import type { Audiences } from "./audiences.ts";
import type { Beat } from "./bus.ts";
import { type Calls, Unanswered } from "./calls.ts";
import type { Administration, AwakeRoomView, ConnectionView, NodePageOf, NodeView, Page, ShardView } from "./chat.ts";
import type { Clock } from "./clock.ts";
import { Refusal } from "./codes.ts";
import type { Connection } from "./connection.ts";
import type { Owners } from "./owners.ts";
import type { Registry } from "./registry.ts";
import type { Room } from "./room.ts";
import type { Shard } from "./shards.ts";

/** Revokes, and tells every node; resolves when it is durable. */
export type Revoke = (user: string, token: string | undefined) => Promise<void>;

/** What administration needs of its node. */
export interface AdministrationHost {
  readonly name: string;
  readonly registry: Registry;
  readonly shards: readonly Shard[];
  readonly rooms: ReadonlyMap<string, Room>;
  readonly audiences: Pick<Audiences, "get">;
  readonly calls: Pick<Calls, "ask">;
  readonly services: Services;
  readonly clock: Clock;
  readonly draining: boolean;
  readonly cluster: {
    readonly owners: Pick<Owners, "of" | "term" | "moves">;
    /** Living nodes; none where nobody else can be. */
    readonly peers: { readonly living: readonly Beat[] };
  };
}

/** Items of one node after an id, by id. */
type Part<V> = (after: string, most: number) => readonly V[];

/** Administration of a whole cluster, asked at one node. */
export class NodeAdministration implements Administration {
  readonly #node: AdministrationHost;
  readonly #revoke: Revoke;
  readonly #since: number;

  constructor(node: AdministrationHost, revoke: Revoke) {
    this.#node = node;
    this.#since = node.clock.now();
    this.#revoke = revoke;
    node.services.offer({
      "node.connections": { safe: true, serve: ([after, most]) => this.#connections(after as string, most as number) },
      "node.rooms": { safe: true, serve: ([after, most]) => this.#rooms(after as string, most as number) },
      // Asked again, it would find nothing to close.
      "node.close": { safe: false, serve: ([id]) => this.#close(id as string) },
    });
  }

  revoke(user: string, token: string | undefined): Promise<void> {
    return this.#revoke(user, token);
  }

  async closeConnection(id: string): Promise<boolean> {
    if (this.#close(id)) return true;
    const others = this.#living().filter((node) => node !== this.#node.name);
    const closed = await Promise.allSettled(others.map((node) => this.#ask<boolean>(node, "node.close", [id])));
    if (closed.some((one) => one.status === "fulfilled" && one.value === true)) return true;
    for (const one of closed) if (one.status === "rejected") throw one.reason;
    return false;
  }

  #close(id: string): boolean {
    const connection = this.#node.registry.get(id);
    connection?.end("closed-by-admin");
    return connection !== undefined;
  }

  connections(page: NodePageOf): Promise<Page<ConnectionView>> {
    return this.#pageOver(page, "node.connections", (after, most) => this.#connections(after, most));
  }

  #connections(after: string, most: number): readonly ConnectionView[] {
    return lowest(this.#node.registry.all(), after, most).map((connection) => this.#viewOf(connection));
  }

  #viewOf({ id, user, address, openedAt, subscriptions }: Connection): ConnectionView {
    const { name } = this.#node;
    return { id, node: name, user, address, connectedAt: openedAt, subscriptions: subscriptions.length };
  }

  rooms(page: NodePageOf): Promise<Page<AwakeRoomView>> {
    return this.#pageOver(page, "node.rooms", (after, most) => this.#rooms(after, most));
  }

  #rooms(after: string, most: number): readonly AwakeRoomView[] {
    const open = [...this.#node.rooms.values()].filter((room) => room.status === "open");
    return lowest(open, after, most).map((room) => ({
      id: room.id,
      node: this.#node.name,
      headOffset: room.state.accepted.offset,
      storedOffset: room.state.stored.offset,
      present: room.presence.size,
      subscriptions: this.#node.audiences.get(room.id)?.logs ?? 0,
    }));
  }

  shards(): { items: readonly ShardView[]; moves: number } {
    const { owners } = this.#node.cluster;
    const items = this.#node.shards.map(({ id, state, rooms }) => ({
      shard: id,
      owner: owners.of(id),
      term: owners.term(id),
      state,
      rooms: rooms.size,
    }));
    return { items, moves: owners.moves };
  }

  nodes(): readonly NodeView[] {
    const { name, draining, registry, shards, cluster } = this.#node;
    const owned = shards.filter(({ id }) => cluster.owners.of(id) === name).length;
    // Of itself a node knows more than it said last.
    const here = { node: name, here: true, draining, since: this.#since, connections: registry.size, shards: owned };
    const others = cluster.peers.living.filter(({ node }) => node !== name).map((beat) => ({ ...beat, here: false }));
    return [here, ...others].sort((a, b) => byCodeUnits(a.node, b.node));
  }

  /** Names of the living nodes, in order. */
  #living(): readonly string[] {
    return this.nodes().map(({ node }) => node);
  }

  async #ask<T>(node: string, method: string, args: readonly unknown[]): Promise<T | undefined> {
    try {
      return (await this.#node.calls.ask(node, method, args)) as T;
    } catch (error) {
      if (!(error instanceof Unanswered)) throw error;
      // It died meanwhile, and has nothing any more.
      if (!this.#living().includes(node)) return undefined;
      throw new Refusal("store-unavailable", `The node ${node} did not answer.`, 1_000);
    }
  }

  /** A page over the nodes in order; the cursor is the node and the id of the last item shown. */
  async #pageOver<V extends { readonly id: string; readonly node: string }>(
    { cursor, limit, node: only }: NodePageOf,
    method: string,
    here: Part<V>,
  ): Promise<Page<V>> {
    const living = this.#living();
    if (only !== undefined && !living.includes(only)) throw new Refusal("not-found", "No such node lives.");
    const slash = cursor?.indexOf("/") ?? -1;
    const from = cursor?.slice(0, slash) ?? "";
    const items: V[] = [];
    for (const node of only === undefined ? living : [only]) {
      if (node < from || items.length > limit) continue;
      const after = node === from ? (cursor ?? "").slice(slash + 1) : "";
      const most = limit + 1 - items.length;
      const own = node === this.#node.name;
      items.push(...(own ? here(after, most) : ((await this.#ask<readonly V[]>(node, method, [after, most])) ?? [])));
    }
    const shown = items.slice(0, limit);
    const last = shown[shown.length - 1];
    return { items: shown, next: items.length > limit && last ? `${last.node}/${last.id}` : undefined };
  }
}

/** The items with the lowest ids after one, in order; one look at each, however many there are. */
function lowest<T extends { readonly id: string }>(list: Iterable<T>, after: string, most: number): readonly T[] {
  const kept: T[] = [];
  for (const one of list) {
    if (one.id <= after) continue;
    if (kept.length === most && one.id >= (kept[kept.length - 1] as T).id) continue;
    let at = kept.length;
    while (at > 0 && one.id < (kept[at - 1] as T).id) at--;
    kept.splice(at, 0, one);
    if (kept.length > most) kept.pop();
  }
  return kept;
}

function byCodeUnits(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
