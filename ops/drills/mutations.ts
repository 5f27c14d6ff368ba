/** Drill: breaks the engine on purpose, in each of the ways of `mutations.ts`; the simulator must catch them all. */
import { hunt, MUTATIONS, unfit } from "../mutations.ts";
import type { Violation } from "./checker.ts";

/** Hunts every mutation; one that no seed of its bound catches, or that does not fit the engine, is a violation. */
export async function mutationsDrill({ say }: { readonly say: (line: string) => void }): Promise<Violation[]> {
  const broken: Violation[] = unfit().map((what) => ({ rule: "mutation", what }));
  if (broken.length > 0) return broken;
  for (const mutation of MUTATIONS) {
    const caught = await hunt(mutation);
    say(`  ${mutation.name}: ${caught ? `seed ${caught.seed}: ${caught.breach}` : "not caught"}`);
    if (!caught) broken.push({ rule: "mutation", what: `${mutation.name} was not caught in ${mutation.runs} runs` });
  }
  return broken;
}
