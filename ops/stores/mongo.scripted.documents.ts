/** Filters, sorts and updates of the scripted MongoDB: only what the archive uses, of texts and numbers. */

/** A document. */
export type Fields = Readonly<Record<string, unknown>>;

type Comparable = string | number;
type Test = (value: unknown, argument: unknown) => boolean;

const TESTS: Readonly<Record<string, Test>> = {
  $gt: (value, than) => isComparable(value) && value > (than as Comparable),
  $gte: (value, than) => isComparable(value) && value >= (than as Comparable),
  $lt: (value, than) => isComparable(value) && value < (than as Comparable),
  $lte: (value, than) => isComparable(value) && value <= (than as Comparable),
  $ne: (value, other) => value !== other,
  $in: (value, among) => (among as unknown[]).includes(value),
  $exists: (value, wanted) => (value !== undefined) === wanted,
  $not: (value, tests) => !passes(value, tests as Fields),
};

function isComparable(value: unknown): value is Comparable {
  return typeof value === "string" || typeof value === "number";
}

function passes(value: unknown, tests: Fields): boolean {
  return Object.entries(tests).every(([name, argument]) => {
    const test = TESTS[name];
    if (!test) throw new Error(`The scripted MongoDB has no ${name}.`);
    return test(value, argument);
  });
}

/** Whether a document fits a filter. */
export function matches(document: Fields, filter: Fields): boolean {
  return Object.entries(filter).every(([name, wanted]) =>
    typeof wanted === "object" && wanted !== null
      ? passes(document[name], wanted as Fields)
      : document[name] === wanted,
  );
}

/** The documents in the order of a sort. */
export function sortedBy(documents: readonly Fields[], sort: Fields): Fields[] {
  const keys = Object.entries(sort) as [string, 1 | -1][];
  return documents.toSorted((a, b) => {
    for (const [name, direction] of keys) {
      const [x, y] = [a[name] as Comparable, b[name] as Comparable];
      if (x !== y) return x < y ? -direction : direction;
    }
    return 0;
  });
}

/** A document after an update or a replacement. */
export function changed(document: Fields, update: Fields, isNew: boolean): Fields {
  if (!Object.keys(update).some((name) => name.startsWith("$"))) return { _id: document["_id"], ...update };
  const next: Record<string, unknown> = { ...document };
  for (const [operator, fields] of Object.entries(update) as [string, Fields][]) {
    for (const [name, value] of Object.entries(fields)) {
      if (operator === "$setOnInsert" && !isNew) continue;
      if (operator === "$max" && isComparable(next[name]) && next[name] >= (value as Comparable)) continue;
      if (!["$set", "$setOnInsert", "$max"].includes(operator)) throw new Error(`There is no ${operator}.`);
      next[name] = value;
    }
  }
  return next;
}
