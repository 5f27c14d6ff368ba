/** Faults of three nodes that live on: paused, cut off from Redis, and with a Redis that comes back with or without data. */
import type { ClusterWorld } from "./cluster.world.ts";

/** The faults by name. */
export const CLUSTER_FAULTS: Readonly<Record<string, (world: ClusterWorld) => Promise<void>>> = {};
