/** What a scenario is. */
import type { Figure } from "../report.ts";

/** How a scenario is to be run. */
export interface Options {
  /** Shorter and coarser: for a look, not for a claim. */
  readonly quick: boolean;
  /** Takes one line about what is being done. */
  readonly progress: (line: string) => void;
}

/** One kind of load and what it measures. It starts what it needs and may leave the ending to its caller. */
export interface Scenario {
  readonly name: string;
  /** One sentence for `--help`. */
  readonly about: string;
  /** Name of the figure whose server CPU a profile splits, where one message has a cost. */
  readonly split?: string;
  readonly run: (options: Options) => Promise<Figure[]>;
}
