import assert from "node:assert/strict";
import { test } from "node:test";
import { askOwner, type OwnerHost, type Question, Services, whileOwned } from "./asking.ts";
import { Astray, Unanswered } from "./calls.ts";
import { SimulatedClock } from "./clock.ts";
import { type CodeWord, Refusal } from "./codes.ts";

const code = (word: CodeWord) => (error: unknown) => error instanceof Refusal && error.code === word;
const READ: Question = { room: "r", method: "read", args: ["r"], safe: true };
const WRITE: Question = { ...READ, method: "write", safe: false };

/** A node `a` that asks; `there` is what the others do, `owner` who owns the room. */
class Asker implements OwnerHost {
  readonly name = "a";
  readonly clock = new SimulatedClock();
  owner: string | undefined = "b";
  there: (node: string) => unknown = (node) => node;
  asked: string[] = [];
  readonly calls = {
    ask: async (node: string, method: string): Promise<unknown> => {
      this.asked.push(`${node} ${method}`);
      return this.there(node);
    },
  };
  #known: (() => void)[] = [];

  ownerOf(): string | undefined {
    return this.owner;
  }

  ownerKnown(): Promise<void> {
    return new Promise((resolve) => this.#known.push(resolve));
  }

  learn(owner: string): void {
    this.owner = owner;
    for (const resolve of this.#known.splice(0)) resolve();
  }

  ask(question: Question, here: () => Promise<unknown> = async () => "here"): Promise<unknown> {
    return askOwner(this, question, here);
  }
}

test("A question goes to the owner: here without a call, else to the other node.", async () => {
  const host = new Asker();
  assert.equal(await host.ask(READ), "b");
  host.owner = "a";
  assert.equal(await host.ask(READ), "here");
  assert.deepEqual(host.asked, ["b read"]);
});

test("A question waits for an owner to be known, and no longer than 5 s.", async () => {
  const host = new Asker();
  host.owner = undefined;
  const answer = host.ask(WRITE);
  await host.clock.advance(1_000);
  host.learn("c");
  assert.equal(await answer, "c");
  host.owner = undefined;
  const refused = assert.rejects(host.ask(WRITE), code("store-unavailable"));
  await host.clock.advance(5_100);
  await refused;
  assert.deepEqual(host.asked, ["c write"]);
});

test("Who went astray asks again, also the same node, until its time is over.", async () => {
  const host = new Asker();
  host.there = (node) => {
    if (node === "b") throw new Astray();
    return node;
  };
  const answer = host.ask(WRITE);
  await host.clock.advance(200);
  assert.ok(host.asked.length > 2, "the same node may have become the owner");
  host.owner = "c";
  await host.clock.advance(100);
  assert.equal(await answer, "c");
  host.owner = "b";
  const refused = assert.rejects(host.ask(READ), code("store-unavailable"));
  await host.clock.advance(5_100);
  await refused;
});

test("What was not answered is asked of the next owner if it may be done again, else its outcome is not known.", async () => {
  const host = new Asker();
  host.there = (node) => {
    host.owner = "c";
    if (node === "b") throw new Unanswered("b", "m");
    return node;
  };
  assert.equal(await host.ask(READ), "c");
  host.owner = "b";
  const refused = await host.ask(WRITE).catch((error: unknown) => error as Refusal);
  assert.ok(refused instanceof Refusal);
  assert.deepEqual(
    [refused.code, refused.detail, refused.retryAfterMs],
    ["store-unavailable", "The outcome is not known; ask again.", 1_000],
  );
  assert.deepEqual(host.asked, ["b read", "c read", "b write"]);
});

test("A room that went elsewhere while it was asked is asked there, if that may be done again.", async () => {
  const host = new Asker();
  const moves = async (): Promise<never> => {
    host.owner = "c";
    throw new Refusal("store-unavailable", "The room is being reopened.");
  };
  host.owner = "a";
  assert.equal(await host.ask(READ, moves), "c");
  host.owner = "a";
  await assert.rejects(host.ask(WRITE, moves), code("store-unavailable"));
  host.owner = "b";
  await assert.rejects(
    whileOwned(host, READ, async () => 1),
    Astray,
  );
  host.owner = "a";
  await assert.rejects(
    whileOwned(host, READ, async () => {
      throw new Refusal("store-unavailable");
    }),
    code("store-unavailable"),
  );
});

test("A refusal of the owner is the answer.", async () => {
  const host = new Asker();
  host.there = () => {
    throw new Refusal("last-admin");
  };
  await assert.rejects(host.ask(READ), code("last-admin"));
  assert.equal(host.asked.length, 1);
});

test("A method that this node does not know is refused, and may be asked again.", async () => {
  const services = new Services();
  services.offer({ write: { safe: false, serve: ([a], from) => `${a} of ${from}` } });
  assert.equal(await services.serve("b", "write", [1]), "1 of b");
  assert.deepEqual([services.safe("write"), services.safe("read")], [false, true]);
  await assert.rejects(services.serve("b", "read", []), code("internal"));
});
