/** The load client: a process of its own that does what the bench tells it over the channel between them. */
import { ask } from "./ask.ts";
import { cannon } from "./cannon.ts";
import { churn, greet, stall, wake } from "./churn.ts";
import { Fleet } from "./fleet.ts";
import type { Answers, Command, Envelope, Reply } from "./messages.ts";
import { pace } from "./paced.ts";
import { run } from "./run.ts";

const fleet = new Fleet();

type Work = { readonly [K in Command["kind"]]: (command: Extract<Command, { kind: K }>) => unknown };

/** What each command does; what it gives, or comes to, is the answer. */
const work: Work = {
  open: (command) => fleet.open(command),
  close: () => fleet.close(),
  greet: (command) => greet(fleet, command),
  nap: ({ ms }) => fleet.nap(ms),
  mark: () => fleet.mark(),
  tally: (command) => fleet.tally(command),
  run: (command) => run(fleet, command),
  pace: (command) => pace(fleet, command),
  stall: () => stall(fleet),
  wake: () => wake(fleet),
  churn: (command) => churn(fleet, command),
  cannon,
  ask,
};

async function obey(command: Command): Promise<Answers[keyof Answers]> {
  const doing = work[command.kind] as (command: Command) => unknown;
  return ((await doing(command)) ?? null) as Answers[keyof Answers];
}

function reply(message: Reply): void {
  process.send?.(message);
}

process.on("message", (envelope: Envelope) => {
  obey(envelope.command).then(
    (answer) => reply({ id: envelope.id, answer }),
    (error: unknown) => reply({ id: envelope.id, failure: error instanceof Error ? error.message : String(error) }),
  );
});
// Without its parent a load client has no purpose, and nothing may be left running.
process.on("disconnect", () => process.exit(0));
