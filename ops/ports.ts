/** Ports for the servers of tests and drills, of which several processes start some at the same time. */
import { createSocket } from "node:dgram";
import { createServer } from "node:net";

/** Below those that the system hands out for port 0 and gives to connections. */
const PORTS = { low: 20_000, high: 32_000 } as const;
/** Ports tried before giving up. */
const TRIES_MAX = 1_000;

/**
 * A TCP port of 127.0.0.1 that nobody listens on, kept for the caller until this process ends: a server may be
 * ended and started again there. Not one that the system hands out for port 0: between its choice and its use, or
 * while a server is down, any connection of any process may be given that one. The UDP port of the same number is
 * the mark by which other test processes, which choose alike, pass it over. Rejects when there seems to be none.
 */
export async function sparePort(): Promise<number> {
  for (let i = 0; i < TRIES_MAX; i++) {
    const port = PORTS.low + Math.floor(Math.random() * (PORTS.high - PORTS.low));
    if ((await mark(port)) && (await isFree(port))) return port;
  }
  throw new Error(`No port from ${PORTS.low} to ${PORTS.high} seems to be free.`);
}

/** False when another has the mark. */
function mark(port: number): Promise<boolean> {
  const socket = createSocket("udp4");
  return new Promise((resolve) => {
    socket.once("error", () => {
      socket.close();
      resolve(false);
    });
    socket.bind({ port, address: "127.0.0.1", exclusive: true }, () => {
      socket.unref();
      resolve(true);
    });
  });
}

function isFree(port: number): Promise<boolean> {
  const probe = createServer();
  return new Promise((resolve) => {
    probe.once("error", () => resolve(false));
    probe.listen({ port, host: "127.0.0.1", exclusive: true }, () => probe.close(() => resolve(true)));
  });
}
