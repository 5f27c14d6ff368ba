/** Which methods each address has: tells "there is nothing here" (404) from "not with this method" (405). */

interface Row {
  readonly segments: readonly string[];
  readonly methods: Set<string>;
}

/** The patterns of all routes. Asked only for requests that no route took, so a walk over the rows is fine. */
export class RouteTable {
  readonly #rows = new Map<string, Row>();

  /** Notes a route as fastify announces it (`onRoute`). The catch-all of CORS preflights stands for no address. */
  add(method: string | readonly string[], pattern: string): void {
    if (pattern === "*") return;
    let row = this.#rows.get(pattern);
    if (row === undefined) {
      row = { segments: pattern.split("/"), methods: new Set() };
      this.#rows.set(pattern, row);
    }
    for (const one of typeof method === "string" ? [method] : method) row.methods.add(one);
  }

  /** The methods of the address of a request, sorted; none when no pattern fits. A query is left out of account. */
  methodsAt(url: string): readonly string[] {
    const end = url.search(/[?#]/);
    const segments = (end < 0 ? url : url.slice(0, end)).split("/", 32);
    const methods = new Set<string>();
    for (const row of this.#rows.values()) {
      if (!fits(row.segments, segments)) continue;
      for (const method of row.methods) methods.add(method);
    }
    return [...methods].sort();
  }
}

function fits(pattern: readonly string[], segments: readonly string[]): boolean {
  for (let i = 0; i < pattern.length; i++) {
    const expected = pattern[i] as string;
    if (expected === "*") return true;
    const given = segments[i];
    if (given === undefined) return false;
    if (expected.startsWith(":") ? given === "" : expected !== given) return false;
  }
  return pattern.length === segments.length;
}
