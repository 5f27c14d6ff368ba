import { SimulatedClock } from "./clock.ts";
import { leasesConformance } from "./leases.conformance.ts";
import { LEASE_MS, MemoryLeases, MemoryLeaseTable } from "./leases.memory.ts";

leasesConformance("memory", async () => {
  const clock = new SimulatedClock();
  const table = new MemoryLeaseTable();
  return {
    first: new MemoryLeases(table, clock, "first"),
    second: new MemoryLeases(table, clock, "second"),
    now: () => clock.monotonic(),
    expire: () => clock.advance(LEASE_MS + 1),
  };
});
