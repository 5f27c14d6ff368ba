/** Parcels on their way out of an edge: all to one owner leave in one word, or in as many as their bytes need. */
import type { Bus } from "./bus.ts";
import type { Counters } from "./counters.ts";
import { WORD_BYTES, type Wrapped } from "./line.ts";
import type { Parcel } from "./words.ts";

/** What leaves in one turn. */
export class LinesOutbox {
  readonly #bus: Pick<Bus, "tell">;
  readonly #counters: Counters;
  readonly #words = new Map<string, { parcels: Parcel[]; bytes: number }>();

  constructor(bus: Pick<Bus, "tell">, counters: Counters) {
    this.#bus = bus;
    this.#counters = counters;
  }

  put(to: string, { parcel, bytes, again }: Wrapped): void {
    this.#counters.forwarded += parcel.drafts.length - again;
    this.#counters.resent += again;
    const word = this.#words.get(to);
    if (word && word.bytes + bytes <= WORD_BYTES) {
      word.parcels.push(parcel);
      word.bytes += bytes;
      return;
    }
    if (word) this.#tell(to, word.parcels);
    this.#words.set(to, { parcels: [parcel], bytes });
  }

  /** Sends what was not sent yet. */
  leave(): void {
    for (const [to, { parcels }] of this.#words) this.#tell(to, parcels);
  }

  #tell(to: string, parcels: readonly Parcel[]): void {
    this.#bus.tell(to, { kind: "sends", parcels });
  }
}
