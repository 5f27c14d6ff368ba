/** Keeps the methods of strings quick, on which all that reads and writes text here depends. */

/** Loads after which V8 remembers a place in the code, with a wide margin: it does after some ten. */
const LOADS = 1_000;

/**
 * A class that extends `String`, as ioredis has one, makes V8 keep `String.prototype` as a hash table. From then on
 * optimised code looks each `charCodeAt` up anew, in the whole process: packing an entry took 1.6 us for 0.45.
 * V8 lays a prototype out for quick access again when a method is loaded through an object that inherits from it,
 * which strings themselves are not. To be called once all such classes are there; repeating it changes nothing.
 */
export function quickenStrings(): void {
  const wrapped = Object("a") as string;
  for (let i = 0; i < LOADS; i++) firstUnit(wrapped);
}

function firstUnit(text: string): number {
  return text.charCodeAt(0);
}
