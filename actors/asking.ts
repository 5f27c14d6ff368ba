/**
 * Asking the owner of a room, whoever that is now: this node, another, or one that is still to be found. What
 * does not depend on being done once is asked again after an owner change (protocol, one SEND, step 1).
 */
import { Astray, type Calls, type Serving, Unanswered } from "./calls.ts";
import type { Clock } from "./clock.ts";
import { Refusal } from "./codes.ts";
import { isRoomId } from "./entry.ts";

/** What is needed to find a room's owner and to ask it. */
export interface OwnerHost {
  readonly name: string;
  readonly clock: Clock;
  readonly calls: Pick<Calls, "ask">;
  /** The node that owns the room, this one's own name included; undefined while it is not known. */
  ownerOf(roomId: string): string | undefined;
  /** Resolves when the owner is known or another; rejects with `store-unavailable` when that takes too long. */
  ownerKnown(roomId: string): Promise<void>;
}

/** Something that is asked of a room's owner. */
export interface Question {
  readonly room: string;
  /** Name and arguments for another node; the name is one of its `Services`. */
  readonly method: string;
  readonly args: readonly unknown[];
  /** Whether doing it again has the same effect and the same answer. */
  readonly safe: boolean;
  /** How long all tries together may take, ms. */
  readonly withinMs?: number;
}

/** How long a question goes from owner to owner, ms: a takeover fits. */
export const OWNER_MS = 5_000;
/** Pause before a node that did not do it is asked again, ms. */
const AGAIN_MS = 50;

/** Does what `here` does where the room is owned: here, or there by the same method. Rejects with the refusal. */
export async function askOwner<T>(host: OwnerHost, question: Question, here: () => Promise<T>): Promise<T> {
  const { room, method, args, safe } = question;
  if (!isRoomId(room)) throw new Refusal("room-not-found");
  const untilMs = host.clock.monotonic() + (question.withinMs ?? OWNER_MS);
  for (;;) {
    const owner = host.ownerOf(room);
    const leftMs = untilMs - host.clock.monotonic();
    if (leftMs <= 0) throw unavailable();
    if (owner === undefined) {
      await atMost(host.clock, leftMs, host.ownerKnown(room));
      if (host.ownerOf(room) === undefined) await pause(host.clock);
      continue;
    }
    try {
      if (owner === host.name) return await whileOwned(host, { room, safe }, here);
      return (await host.calls.ask(owner, method, args, leftMs)) as T;
    } catch (error) {
      if (error instanceof Unanswered && !safe) {
        throw new Refusal("store-unavailable", "The outcome is not known; ask again.", 1_000);
      }
      if (!(error instanceof Astray) && !(error instanceof Unanswered)) throw error;
    }
    if (host.ownerOf(room) === owner) await pause(host.clock);
  }
}

/**
 * Does something of a room that this node owns; throws `Astray` where it does not. What may be done again and
 * was refused as the room went elsewhere is astray too: its next owner does it.
 */
export async function whileOwned<T>(
  host: Pick<OwnerHost, "name" | "ownerOf">,
  { room, safe }: Pick<Question, "room" | "safe">,
  work: () => Promise<T>,
): Promise<T> {
  if (host.ownerOf(room) !== host.name) throw new Astray();
  try {
    return await work();
  } catch (error) {
    const away = error instanceof Refusal && error.code === "store-unavailable";
    if (safe && away && host.ownerOf(room) !== host.name) throw new Astray();
    throw error;
  }
}

function unavailable(): Refusal {
  return new Refusal("store-unavailable", "The owner of the room is not known yet.", 1_000);
}

/** Waits for `work`, but no longer than `ms`. */
export async function atMost(clock: Clock, ms: number, work: Promise<unknown>): Promise<void> {
  let end = (): void => {};
  const late = new Promise<void>((resolve) => {
    end = resolve;
  });
  const timer = clock.after(ms, end);
  try {
    await Promise.race([work, late]);
  } finally {
    clock.cancel(timer);
  }
}

/** A short wait before the same is asked again. */
export function pause(clock: Clock): Promise<void> {
  return new Promise((resolve) => void clock.after(AGAIN_MS, resolve));
}

/** One thing that other nodes may ask of this one. */
export interface Service {
  /** Whether doing it again has the same effect and the same answer. */
  readonly safe: boolean;
  /** As `Serving.serve`; the arguments are as the same program sent them. */
  readonly serve: (args: readonly unknown[], from: string) => unknown;
}

/** What other nodes may ask of this one, by method; its parts offer what they do. */
export class Services implements Serving {
  readonly #byMethod = new Map<string, Service>();

  /** Offers methods; a later offer of the same method replaces the one before. */
  offer(services: Readonly<Record<string, Service>>): void {
    for (const [method, service] of Object.entries(services)) this.#byMethod.set(method, service);
  }

  async serve(from: string, method: string, args: readonly unknown[]): Promise<unknown> {
    const service = this.#byMethod.get(method);
    // A node of another version asks for what this one does not know.
    if (!service) throw new Refusal("internal", `This node knows no ${method}.`);
    return service.serve(args, from);
  }

  safe(method: string): boolean {
    return this.#byMethod.get(method)?.safe ?? true;
  }
}
