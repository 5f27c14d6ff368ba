/** For tests: a store that works, fails at once, says nothing, or holds damaged rows, as the test wishes. */
import { DamagedRow, StoreFailure } from "../actors/codes.ts";

/** How the store is, and what reached it. */
export interface Mood {
  /** `silent`: calls are kept until `speak`. */
  now: "well" | "away" | "silent" | "broken" | "damaged";
  /** Names of the methods that were called, in order. */
  readonly heard: string[];
  /** Answers the calls that were kept, as a store does that was only slow. */
  speak(): void;
}

/** The port in front of a real backend, with the mood that rules it. */
export function moody<T extends object>(port: T): { port: T; mood: Mood } {
  const kept: (() => void)[] = [];
  const mood: Mood = {
    now: "well",
    heard: [],
    speak: () => {
      for (const answer of kept.splice(0)) answer();
    },
  };
  const front = new Proxy(port, {
    get(target, name) {
      const method: unknown = Reflect.get(target, name);
      if (typeof method !== "function") return method;
      return (...args: unknown[]) => {
        mood.heard.push(String(name));
        if (mood.now === "away") return Promise.reject(new StoreFailure("Nobody is there."));
        if (mood.now === "damaged") return Promise.reject(new DamagedRow("Row 1 is damaged."));
        if (mood.now === "broken") return Promise.reject(new TypeError("A fault of ours."));
        const call = (): unknown => Reflect.apply(method, target, args);
        return mood.now === "well" ? call() : new Promise((resolve) => kept.push(() => resolve(call())));
      };
    },
  });
  return { port: front, mood };
}
