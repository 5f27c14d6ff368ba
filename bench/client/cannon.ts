/** Closed-loop HTTP load: autocannon, with the CPU time of both sides read around it. */
import type { Options, Result } from "autocannon";
import { cpuSeconds } from "../usage.ts";
import type { Cannon, Requested } from "./messages.ts";

/** Runs the load twice: to warm up, and to measure. */
export async function cannon(wish: Cannon): Promise<Requested> {
  // Loaded here, as all other load clients do without it.
  const { default: autocannon } = await import("autocannon");
  const headers = {
    ...(wish.token === undefined ? {} : { authorization: `Bearer ${wish.token}` }),
    ...(wish.body === undefined ? {} : { "content-type": "application/json" }),
  };
  const request = wish.body === undefined ? { method: "GET" as const } : { method: "POST" as const, body: wish.body };
  const options: Options = { url: wish.url, connections: wish.connections, headers, ...request };
  if (wish.warmSeconds > 0) await autocannon({ ...options, duration: wish.warmSeconds });
  const [server, client] = [cpuSeconds(wish.serverPid), cpuSeconds(process.pid)];
  const result: Result = await autocannon({ ...options, duration: wish.seconds });
  return {
    seconds: result.duration,
    requests: result["2xx"],
    failures: result.non2xx + result.errors + result.timeouts,
    serverCpuSeconds: cpuSeconds(wish.serverPid) - server,
    clientCpuSeconds: cpuSeconds(process.pid) - client,
    p50Ms: result.latency.p50,
    p99Ms: result.latency.p99,
  };
}
