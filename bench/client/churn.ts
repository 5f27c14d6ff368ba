/** What connections do beside listening: make members of their users, come and go, stand still. */
import type { Connection } from "./connection.ts";
import { type Fleet, pause } from "./fleet.ts";
import { refusalsFrame, sendFrame, text } from "./frames.ts";
import type { Churn, Churned, Greet, Woken } from "./messages.ts";

const GREETINGS_AT_ONCE = 256;
const GREETING_LIMIT_MS = 30_000;
const GREETING = "greeting";
/** A stalled connection is read until no more comes for this long. */
const WAKE_QUIET_MS = 500;

/** Asks for refusals, sends one SEND and waits for its RECEIPT. */
async function greeted(connection: Connection): Promise<void> {
  const { counter } = connection;
  const before = counter.receipts;
  let timer: NodeJS.Timeout | undefined;
  await new Promise<void>((resolve, reject) => {
    timer = setTimeout(() => reject(new Error("a first SEND was not answered")), GREETING_LIMIT_MS);
    connection.onRead = () => {
      if (counter.receipts > before) resolve();
    };
    if (connection.sampled) connection.receiptsAwaited.push(GREETING);
    connection.write(
      Buffer.concat([text(refusalsFrame()), text(sendFrame(connection.destination, "hello", GREETING))]),
    );
  });
  clearTimeout(timer);
  connection.onRead = undefined;
}

/** Greets from the first connections. A bare server knows no members. */
export async function greet(fleet: Fleet, { publishers }: Greet): Promise<void> {
  const waiting = fleet.connections.slice(0, publishers).filter(({ place }) => place.dialect === "stomp");
  const worker = async (): Promise<void> => {
    for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) await greeted(next);
  };
  await Promise.all(Array.from({ length: GREETINGS_AT_ONCE }, worker));
  fleet.check();
}

/** Closes one connection after another, each replaced by that of a new user; a failed opening is counted and left. */
export async function churn(fleet: Fleet, { perSecond, seconds }: Churn): Promise<Churned> {
  const began = performance.now();
  let [started, reopened, failed] = [0, 0, 0];
  const opening = new Set<Promise<void>>();
  while (performance.now() - began < seconds * 1_000) {
    const due = ((performance.now() - began) / 1_000) * perSecond;
    for (; started < due && opening.size < fleet.connections.length; started += 1) {
      const opened = fleet
        .replace(started % fleet.connections.length, started)
        .then(
          () => {
            reopened += 1;
          },
          () => {
            failed += 1;
          },
        )
        .finally(() => opening.delete(opened));
      opening.add(opened);
    }
    await pause(1_000 / perSecond);
  }
  await Promise.all(opening);
  return { reopened, failed };
}

/** Stops reading on all connections; from now on the server may end them. */
export function stall(fleet: Fleet): void {
  for (const connection of fleet.connections) connection.pause();
}

/** Reads what is left, and closes. */
export async function wake(fleet: Fleet): Promise<Woken> {
  const bytes = (): number => fleet.connections.reduce((sum, connection) => sum + connection.bytesRead, 0);
  const before = bytes();
  for (const connection of fleet.connections) connection.resume();
  for (let seen = -1; seen < bytes(); ) {
    seen = bytes();
    await pause(WAKE_QUIET_MS);
  }
  const cut = fleet.connections.filter(({ failed }) => failed).length;
  const read = bytes() - before;
  fleet.close();
  return { cut, bytes: read };
}
