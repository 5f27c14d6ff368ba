/** Taking the one port, alone: a second process on it is refused, not given a share. */

import uWS from "uWebSockets.js";
import { createServer } from "node:net";

/** Host, port and options together, which the native `listen` takes and its types leave out. */
type ListenWith = (
  host: string,
  port: number,
  options: number,
  done: (socket: uWS.us_listen_socket | false) => void,
) => void;

const OPTIONS = uWS as unknown as { LIBUS_LISTEN_EXCLUSIVE_PORT: number };
const SHARED = 0;

/**
 * Listens, or rejects with an `Error` in a full sentence.
 *
 * The exclusive native socket is bound without SO_REUSEADDR: for a minute after a crash the dead process's
 * connections (TIME_WAIT) would keep its successor out. So where that fails, a plain socket asks whether
 * anybody listens; when nobody does, the port is taken by the native socket that allows reuse. Another
 * server that asks for the port exclusively is refused from then on all the same.
 */
export async function listen(app: uWS.TemplatedApp, host: string, port: number): Promise<uWS.us_listen_socket> {
  const alone = await tryToListen(app, { host, port, options: OPTIONS.LIBUS_LISTEN_EXCLUSIVE_PORT });
  if (alone) return alone;
  const reason = await whyTaken(host, port);
  const again = reason === undefined && (await tryToListen(app, { host, port, options: SHARED }));
  if (again) return again;
  throw new Error(`Confab cannot listen on ${host}:${port}: ${reason ?? "the port is in use"}.`);
}

function tryToListen(
  app: uWS.TemplatedApp,
  { host, port, options }: { host: string; port: number; options: number },
): Promise<uWS.us_listen_socket | undefined> {
  const listenWith = app.listen.bind(app) as unknown as ListenWith;
  return new Promise((resolve) => listenWith(host, port, options, (socket) => resolve(socket || undefined)));
}

/** Why nobody may listen there now; undefined when the address is free but for connections of the past. */
function whyTaken(host: string, port: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.once("error", (error: NodeJS.ErrnoException) => {
      if (error.code === "EADDRINUSE") resolve("the port is in use by another process");
      else if (error.code === "EACCES") resolve("this user may not listen on that port");
      else if (error.code === "EADDRNOTAVAIL") resolve("the address is none of this machine's");
      else if (error.code === "ENOTFOUND" || error.code === "EAI_AGAIN") resolve("the name has no address");
      else resolve(error.message);
    });
    probe.listen({ host, port, exclusive: true }, () => probe.close(() => resolve(undefined)));
  });
}
