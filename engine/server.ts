/** The WebSocket side of the one port: handshakes at `/ws/chat`, sockets to sessions, and the orderly end. */
import uWS from "uWebSockets.js";
import { countCode } from "../actors/counters.ts";
import type { Edge } from "./edge.ts";
import { addressText } from "./http.request.ts";
import { bearerToken } from "./stomp/commands.ts";
import { Session } from "./stomp/session.ts";

/** What a handshake leaves for the session, and then the session. */
interface Seat {
  /** The client's address as trusted proxies say it; undefined where the socket's own is meant. */
  readonly address: string | undefined;
  /** Until the session has it. */
  token: string | undefined;
  session: Session | undefined;
}

/** What a socket has: one thing, as the WebSocket layer copies each of them to the socket by its name. */
interface Holder {
  readonly seat: Seat;
}

/** What the WebSocket side needs. */
export interface SocketOptions {
  readonly edge: Edge;
  /** Whether a browser of this origin may connect; asked only when the handshake names an origin. */
  readonly mayConnect: (origin: string, host: string) => boolean;
  /** The client's address: the socket's, or what a trusted proxy says. Asked only when the handshake names one. */
  readonly addressOf: (socket: string, forwarded: string) => string;
}

/** Sub-protocols we know, best first. */
const SUBPROTOCOLS = ["v12.stomp", "v11.stomp", "v10.stomp"];

/** Seconds of silence after which the WebSocket layer pings, and then ends, a connection without heart-beats. */
const IDLE_S = 120;

/** Serves `/ws/chat` on an app. */
export function serveSockets(app: uWS.TemplatedApp, options: SocketOptions): void {
  const { edge } = options;
  const { limits, counters } = edge.node;
  app.ws<Holder>("/ws/chat", {
    compression: uWS.DISABLED,
    // Larger messages are ended by the WebSocket layer without ERROR (design 3).
    maxPayloadLength: limits.bodyBytes + limits.frameOverheadBytes,
    idleTimeout: IDLE_S,
    sendPingsAutomatically: true,
    maxBackpressure: limits.backpressureBytes,
    closeOnBackpressureLimit: 1,
    upgrade: (response, request, context) => upgrade({ response, request, context }, options),
    open: (ws) => {
      const { seat } = ws.getUserData();
      const session = new Session(edge, ws as uWS.WebSocket<unknown>, seat.address);
      session.connection.handshakeToken = seat.token;
      seat.token = undefined;
      seat.session = session;
    },
    message: (ws, message) => ws.getUserData().seat.session?.receive(Buffer.from(message)),
    pong: (ws) => {
      const { session } = ws.getUserData().seat;
      if (session) session.connection.seenAt = edge.node.clock.monotonic();
    },
    drain: (ws) => ws.getUserData().seat.session?.drain(),
    dropped: (ws) => {
      const { session } = ws.getUserData().seat;
      if (!session || session.slow) return;
      session.slow = true;
      counters.slowCloses++;
      edge.node.log.info(
        { connection: session.connection.id, user: session.connection.user },
        "a connection reads too slowly",
      );
    },
    close: (ws, code) => {
      countCode(counters.closes, String(code));
      ws.getUserData().seat.session?.closed();
    },
  });
}

interface Upgrade {
  readonly response: uWS.HttpResponse;
  readonly request: uWS.HttpRequest;
  readonly context: uWS.us_socket_context_t;
}

function upgrade({ response, request, context }: Upgrade, options: SocketOptions): void {
  response.onAborted(nothing);
  const origin = request.getHeader("origin");
  const closedTo = options.edge.node.admission.enter();
  if (closedTo) {
    countCode(options.edge.node.counters.refusals, closedTo);
    response.writeStatus("503 Service Unavailable").writeHeader("retry-after", "1").end();
    return;
  }
  if (origin !== "" && !options.mayConnect(origin, request.getHeader("host"))) {
    countCode(options.edge.node.counters.refusals, "origin-refused");
    response.writeStatus("403 Forbidden").end();
    return;
  }
  const offered = request.getHeader("sec-websocket-protocol");
  const known = offered === "" ? undefined : offered.split(",").map((part) => part.trim());
  const protocol = known ? (SUBPROTOCOLS.find((name) => known.includes(name)) ?? "") : "";
  const authorization = request.getHeader("authorization");
  const token = authorization === "" ? request.getQuery("access_token") : bearerToken(authorization);
  const forwarded = request.getHeader("x-forwarded-for");
  const address =
    forwarded === "" ? undefined : options.addressOf(addressText(response.getRemoteAddressAsText()), forwarded);
  response.upgrade<Holder>(
    { seat: { address, token: token || undefined, session: undefined } },
    request.getHeader("sec-websocket-key"),
    protocol,
    request.getHeader("sec-websocket-extensions"),
    context,
  );
}

/** The upgrade answers in the turn in which it is asked, so there is nothing to stop. */
function nothing(): void {}

/** Connections ended per slice of a drain, and the pause between slices, ms. */
const SLICE = { connections: 500, pauseMs: 20 } as const;

/**
 * Asks all connections to reconnect (1012), in slices so that they do not come back as one. Resolves when
 * all are gone or the time is over.
 */
export async function drainSockets(edge: Edge, deadlineMs: number): Promise<void> {
  const { clock, registry } = edge.node;
  const end = clock.monotonic() + deadlineMs;
  const pause = (): Promise<void> => new Promise((resolve) => void clock.after(SLICE.pauseMs, resolve));
  while (registry.size > 0 && clock.monotonic() < end) {
    let left: number = SLICE.connections;
    for (const connection of registry.all()) {
      if (left-- === 0) break;
      connection.end("draining");
    }
    await pause();
  }
}
