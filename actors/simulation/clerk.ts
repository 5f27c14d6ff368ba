/** Those who work over REST: the admin who adds and removes members, and users who change their messages. */
import { Buffer } from "node:buffer";
import type { NewMessage } from "../chat.ts";
import { Refusal } from "../codes.ts";
import type { Chance } from "./chance.ts";
import type { Memberships } from "./judge.access.ts";
import type { Judge } from "./judge.ts";
import { callerOf, type Machine } from "./machine.ts";
import type { Story } from "./story.ts";

/** What the clerk needs of its world. */
export interface ClerkHost {
  readonly rooms: readonly string[];
  readonly memberships: Memberships;
  readonly story: Story;
  readonly judge: Judge;
  readonly nowMs: number;
  /** Whether a shard has one owner at most. */
  readonly owned: boolean;
  after(delayMs: number, task: () => void): void;
  chooseProcess(): Machine | undefined;
  /** A user was removed from a private room, as REST answered. */
  removed(room: string, user: string): void;
}

/** How long REST is waited for, ms; then the outcome is not known. */
const ANSWER_MS = 12_000;
/** Members that are changed at the same time. */
const HANDS = 3;

/** Pause before one who was removed asks for the history, ms. */
const PEEK_MS = { least: 10, most: 3_000 } as const;

/** Asks REST, at any node. */
export class Clerk {
  readonly #host: ClerkHost;
  readonly #chance: Chance;
  /** Private rooms, their admin, and who may be a member. */
  readonly #rooms: { readonly id: string; readonly admin: string; readonly users: readonly string[] }[] = [];
  /** Members that are being changed, by room and user. */
  readonly #changing = new Set<string>();
  /** Members whose late changes may still come. */
  readonly #unclear = new Set<string>();
  /** Calls that wait for an answer. */
  open = 0;

  constructor(host: ClerkHost, chance: Chance) {
    this.#host = host;
    this.#chance = chance;
  }

  /** A private room was made; the first user is its admin. */
  opened(id: string, [admin, ...users]: readonly string[]): void {
    this.#rooms.push({ id, admin: admin as string, users });
    for (const user of [admin as string, ...users]) this.#stands(id, user, "in");
  }

  #stands(room: string, user: string, standing: "in" | "out" | "unknown"): void {
    this.#host.memberships.set(room, user, { sinceMs: this.#host.nowMs, standing });
  }

  begin(untilMs: number): void {
    // A node that is cut off answers late; the others are asked meanwhile.
    for (let hand = 0; hand < HANDS; hand++) this.#next(untilMs, () => this.#changeMember(), 600 * HANDS);
    this.#next(untilMs, () => this.#changeMessage(), 500);
  }

  #next(untilMs: number, work: () => Promise<void>, pauseMs: number): void {
    this.#host.after(pauseMs * this.#chance.between(0.2, 1.8), () => {
      if (this.#host.nowMs >= untilMs) return;
      void work().then(() => this.#next(untilMs, work, pauseMs));
    });
  }

  /** Asks a node; what a dead one answers is not heard. */
  async #call(what: string, ask: (machine: Machine) => Promise<unknown>): Promise<"done" | "refused" | "unknown"> {
    const machine = this.#host.chooseProcess();
    if (!machine) return "refused";
    const { story } = this.#host;
    story.say("rest", `${machine.name}: ${what}`);
    this.open++;
    const outcome = await new Promise<"done" | "refused" | "unknown">((resolve) => {
      const answer = (outcome: "done" | "refused" | "unknown", why = ""): void => {
        if (!machine.alive) return;
        story.say("rest", `${what}: ${outcome} ${why}`);
        resolve(outcome);
      };
      this.#host.after(ANSWER_MS, () => resolve("unknown"));
      machine.life.deliver(() => {
        ask(machine).then(
          () => answer("done"),
          (error: Error) => {
            const known = error instanceof Refusal && error.code !== "store-unavailable" && error.code !== "busy";
            if (!(error instanceof Refusal) && error.name !== "StoreFailure") {
              this.#host.judge.breaks(`${machine.name} answers ${what} with a fault of ours: ${error.stack}`);
            }
            answer(known ? "refused" : "unknown", error.message);
          },
        );
      });
    });
    this.open--;
    return outcome;
  }

  async #changeMember(): Promise<void> {
    const room = this.#chance.pick(this.#rooms);
    const user = this.#chance.pick(room.users);
    const { memberships } = this.#host;
    const changing = `${room.id} ${user}`;
    if (this.#changing.has(changing)) return;
    this.#changing.add(changing);
    const was = memberships.during(room.id, user, this.#host.nowMs);
    const on = was === "unknown" ? this.#chance.happens(0.5) : was === "out";
    const admin = callerOf(room.admin);
    this.#stands(room.id, user, "unknown");
    const outcome = on
      ? await this.#call(`add ${user} to ${room.id}`, ({ chat }) =>
          chat.addMember(admin, room.id, { id: user, name: user.toUpperCase(), role: "member" }),
        )
      : await this.#call(`remove ${user} from ${room.id}`, ({ chat }) => chat.removeMember(admin, room.id, user));
    this.#changing.delete(changing);
    // A change without an answer may be under way: from then on it may follow any other change, and nobody knows
    // where the user stands.
    const clear = outcome === "done" && !this.#unclear.has(changing);
    if (outcome !== "done") this.#unclear.add(changing);
    if (!clear) return;
    this.#stands(room.id, user, on ? "in" : "out");
    if (on) return;
    this.#host.removed(room.id, user);
    this.#host.after(this.#chance.between(PEEK_MS.least, PEEK_MS.most), () => void this.#peek(room.id, user));
  }

  /** Who was removed asks for the history. */
  async #peek(room: string, user: string): Promise<void> {
    const askedMs = this.#host.nowMs;
    const ask = ({ chat }: Machine) => chat.history(callerOf(user), room, { limit: 20 });
    const outcome = await this.#call(`history ${user} ${room}, removed`, ask);
    if (outcome !== "done" || !this.#host.owned || this.#host.memberships.during(room, user, askedMs) !== "out") return;
    this.#host.judge.breaks(`the history of ${room} is shown to ${user}, removed before it was asked for`);
  }

  async #changeMessage(): Promise<void> {
    const room = this.#chance.pick(this.#host.rooms);
    const user = this.#chance.pick(["alice", "bob", "carol"]);
    const offset = this.#chance.whole(1, 20);
    const by = callerOf(user);
    const name = `${user} ${room} ${offset}`;
    switch (this.#chance.weighed({ edit: 2, delete: 1, react: 3, post: 3, history: 2, rooms: 1 })) {
      case "edit":
        return void (await this.#call(`edit ${name}`, ({ chat }) => chat.edit(by, room, offset, messageOf("edited"))));
      case "delete":
        return void (await this.#call(`delete ${name}`, ({ chat }) => chat.deleteMessage(by, room, offset)));
      case "react": {
        const change = { reaction: "+", on: this.#chance.happens(0.7) };
        return void (await this.#call(`react ${name}`, ({ chat }) => chat.react(by, room, offset, change)));
      }
      case "post":
        return void (await this.#call(`post ${name}`, ({ chat }) => chat.post(by, room, messageOf("posted"))));
      case "history":
        return void (await this.#call(`history ${name}`, ({ chat }) => chat.history(by, room, { limit: 20 })));
      case "rooms":
        return void (await this.#call(`rooms ${name}`, ({ chat }) => chat.myRooms(by, { limit: 20 })));
    }
  }
}

function messageOf(text: string): NewMessage {
  return { body: Buffer.from(text), text: true, contentType: "text/plain", headers: [], clientMessageId: undefined };
}
