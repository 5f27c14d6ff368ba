/**
 * Whose turn it is to send. Of the window every publisher has the same share: one who has that much outstanding is
 * passed over until something of it is back, so that no server is given a second message of a sender for answering him
 * out of turn.
 */
export class Turns {
  /** A ring of places: a publisher stands in it as many times as he may still send. */
  readonly #places: Uint32Array;
  #first = 0;
  #count = 0;

  /** At the beginning each publisher, 0 to `publishers` - 1, has his first turn before any has a second. */
  constructor(publishers: number, window: number) {
    const share = Math.ceil(window / publishers);
    this.#places = new Uint32Array(publishers * share);
    for (let place = 0; place < publishers * share; place += 1) this.back(place % publishers);
  }

  /** The next publisher; undefined where each has his share outstanding. */
  next(): number | undefined {
    if (this.#count === 0) return undefined;
    const publisher = this.#places[this.#first];
    this.#first = (this.#first + 1) % this.#places.length;
    this.#count -= 1;
    return publisher;
  }

  /** A message of the publisher came back or was refused: he may send another, once those before him have. */
  back(publisher: number): void {
    // More came back than was sent, which the tally finds.
    if (this.#count === this.#places.length) return;
    this.#places[(this.#first + this.#count) % this.#places.length] = publisher;
    this.#count += 1;
  }
}
