/** For tests: something that waits until the test lets it go on. */

/** A latch; closed at first. */
export class Latch {
  /** Resolves when the latch is opened. */
  readonly opened: Promise<void>;
  /** Opens the latch; harmless when it is open. */
  readonly open: () => void;

  constructor() {
    let open: () => void = () => {};
    this.opened = new Promise((resolve) => {
      open = resolve;
    });
    this.open = open;
  }
}

/** A method of many arguments, as a store has them. */
type Method = (...args: never[]) => Promise<unknown>;

/** The names of the methods of a thing that answer by a promise. */
type MethodOf<T> = { [K in keyof T]: T[K] extends Method ? K : never }[keyof T];

/** Puts `around` in the place of a method for one call; it is given the call itself, to be made when it likes. */
export function once<T extends object, K extends MethodOf<T>>(
  owner: T,
  name: K,
  around: (call: () => ReturnType<T[K] & Method>) => unknown,
): void {
  const own = owner[name] as T[K] & Method;
  const replaced: Method = (...args) => {
    Object.assign(owner, { [name]: own });
    return around(() => own.apply(owner, args) as ReturnType<T[K] & Method>) as Promise<unknown>;
  };
  Object.assign(owner, { [name]: replaced });
}
