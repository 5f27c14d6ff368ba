/** What administrators ask of one node. */
import type { Administration, ConnectionView, Page, PageOf } from "./chat.ts";
import type { Node } from "./node.ts";

/** Revokes, and tells every node; resolves when it is durable. */
export type Revoke = (user: string, token: string | undefined) => Promise<void>;

/** Administration over one node. */
export class NodeAdministration implements Administration {
  readonly #node: Node;
  readonly #revoke: Revoke;

  constructor(node: Node, revoke: Revoke) {
    this.#node = node;
    this.#revoke = revoke;
  }

  revoke(user: string, token: string | undefined): Promise<void> {
    return this.#revoke(user, token);
  }

  closeConnection(id: string): boolean {
    if (!this.#node.registry.get(id)) return false;
    this.#node.bus.notify({ kind: "close", connection: id });
    return true;
  }

  connections(page: PageOf): Page<ConnectionView> {
    return pageOf(this.#node.registry.all(), page, (connection) => ({
      id: connection.id,
      user: connection.user,
      address: connection.address,
      connectedAt: connection.openedAt,
      subscriptions: connection.subscriptions.length,
    }));
  }

  shards(): readonly { shard: number; state: string; term: number; rooms: number }[] {
    return this.#node.shards.map((shard) => ({
      shard: shard.id,
      state: shard.state,
      term: shard.term,
      rooms: shard.rooms.size,
    }));
  }

  rooms(page: PageOf): ReturnType<Administration["rooms"]> {
    const open = [...this.#node.rooms.values()].filter((room) => room.status === "open");
    return pageOf(open, page, (room) => ({
      id: room.id,
      headOffset: room.state.accepted.offset,
      storedOffset: room.state.stored.offset,
      present: room.presence.size,
      subscriptions: this.#node.audiences.get(room.id)?.logs ?? 0,
    }));
  }
}

/** A page by position; the cursor is the id of the last one shown, and the order is that of the list. */
function pageOf<T extends { readonly id: string }, V>(list: Iterable<T>, page: PageOf, show: (one: T) => V): Page<V> {
  const items: V[] = [];
  let skipping = page.cursor !== undefined;
  let last = "";
  for (const one of list) {
    if (skipping) {
      skipping = one.id !== page.cursor;
      continue;
    }
    if (items.length === page.limit) return { items, next: last };
    items.push(show(one));
    last = one.id;
  }
  return { items, next: undefined };
}
