/** A guarded port is the same port: each suite passes through its guard. */
import { archiveConformance } from "../actors/archive.conformance.ts";
import { MemoryArchive } from "../actors/archive.memory.ts";
import { busConformance } from "../actors/bus.conformance.ts";
import { MemoryHub } from "../actors/bus.memory.ts";
import { SimulatedClock } from "../actors/clock.ts";
import { directoryConformance } from "../actors/directory.conformance.ts";
import { MemoryDirectory } from "../actors/directory.memory.ts";
import { leasesConformance } from "../actors/leases.conformance.ts";
import { LEASE_MS, MemoryLeases, MemoryLeaseTable } from "../actors/leases.memory.ts";
import { SILENT } from "../actors/log.ts";
import { systemClock } from "./clock.ts";
import { StoreStats } from "./guard.stats.ts";
import type { GuardParts } from "./guard.store.ts";
import { guardArchive, guardBus, guardDirectory, guardLeases } from "./guard.ts";
import type { StoreName } from "./policy.ts";

const parts = (store: StoreName, clock = systemClock): GuardParts => ({
  clock,
  log: SILENT,
  stats: new StoreStats(store),
});

archiveConformance("guarded", async () => guardArchive(new MemoryArchive(), parts("archive")));

directoryConformance("guarded", async (loginAuditEntries) =>
  guardDirectory(new MemoryDirectory({ loginAuditEntries }), parts("directory")),
);

busConformance("guarded", async (limits) => {
  let nowMs = 0;
  const hub = new MemoryHub(8, limits, { shared: true, now: () => nowMs });
  const open: { close(): Promise<void> }[] = [];
  return {
    shards: hub.shards,
    connect: async () => {
      const bus = guardBus(hub.connect(), parts("bus"));
      open.push(bus);
      return bus;
    },
    lock: async () => "lock",
    elapse: async (ms) => {
      nowMs += ms;
    },
    wipe: async () => hub.wipe(),
    close: async () => {
      for (const bus of open) await bus.close();
    },
  };
});

leasesConformance("guarded", async () => {
  const clock = new SimulatedClock();
  const table = new MemoryLeaseTable();
  return {
    first: guardLeases(new MemoryLeases(table, clock, "first"), parts("leases", clock)),
    second: guardLeases(new MemoryLeases(table, clock, "second"), parts("leases", clock)),
    now: () => clock.monotonic(),
    expire: () => clock.advance(LEASE_MS + 1),
  };
});
