/** The load client: a process of its own that does what the bench tells it over the channel between them. */
import { Fleet } from "./fleet.ts";
import type { Answers, Command, Envelope, Reply } from "./messages.ts";
import { run } from "./run.ts";

const fleet = new Fleet();

async function obey(command: Command): Promise<Answers[keyof Answers]> {
  switch (command.kind) {
    case "open":
      return fleet.open(command);
    case "close":
      fleet.close();
      return null;
    case "nap":
      fleet.nap(command.ms);
      return null;
    case "mark":
      fleet.mark();
      return null;
    case "tally":
      return fleet.tally(command);
    case "run":
      return run(fleet, command);
  }
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
