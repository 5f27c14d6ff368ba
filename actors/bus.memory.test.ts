import { busConformance } from "./bus.conformance.ts";
import { MemoryHub } from "./bus.memory.ts";

busConformance("memory", async (limits) => {
  const hub = new MemoryHub(8, limits);
  return {
    shards: hub.shards,
    connect: async () => hub.connect(),
    // One process is its own arbiter: the fence of this backend is the term alone.
    lock: async () => "lock",
    close: async () => {
      for (const handle of [...hub.handles]) await handle.close();
    },
  };
});
