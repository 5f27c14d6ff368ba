/** All that is left to chance in a simulated world, drawn from its seed. */
import { seeded } from "../node.fixture.faults.ts";

/** A source of choices; equal seeds choose equally. */
export class Chance {
  /** From 0 up to, not with, 1. */
  readonly fraction: () => number;

  constructor(seed: number) {
    this.fraction = seeded(seed);
  }

  /** Whether something of this probability happens. */
  happens(share: number): boolean {
    return share > 0 && this.fraction() < share;
  }

  /** A number between two. */
  between(low: number, high: number): number {
    return low + (high - low) * this.fraction();
  }

  /** A whole number, both ends included. */
  whole(low: number, high: number): number {
    return low + Math.floor(this.fraction() * (high - low + 1));
  }

  /** One of a list that is not empty. */
  pick<T>(list: readonly T[]): T {
    return list[Math.floor(this.fraction() * list.length)] as T;
  }

  /** One of a table of weights. */
  weighed<T extends string>(weights: Readonly<Record<T, number>>): T {
    const entries = Object.entries(weights) as [T, number][];
    let left = this.fraction() * entries.reduce((sum, [, weight]) => sum + weight, 0);
    for (const [name, weight] of entries) {
      left -= weight;
      if (left < 0) return name;
    }
    return (entries[entries.length - 1] as [T, number])[0];
  }

  /** A source of its own, so that what one part draws changes nothing for another. */
  fork(): Chance {
    return new Chance(Math.floor(this.fraction() * 4_294_967_296));
  }
}
