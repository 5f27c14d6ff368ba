/** What the servers without a protocol share: how they take sockets, and where they listen. */
import uWS from "uWebSockets.js";

export { uWS };

const BACKPRESSURE_BYTES_MAX = 67_108_864;
const PAYLOAD_BYTES_MAX = 1_048_576;
const IDLE_SECONDS_MAX = 120;

/** Settings of their WebSockets. */
export const SOCKETS = {
  compression: uWS.DISABLED,
  maxPayloadLength: PAYLOAD_BYTES_MAX,
  maxBackpressure: BACKPRESSURE_BYTES_MAX,
  idleTimeout: IDLE_SECONDS_MAX,
} as const;

/** A handshake. */
export interface Handshake {
  readonly response: uWS.HttpResponse;
  readonly request: uWS.HttpRequest;
  readonly context: uWS.us_socket_context_t;
}

/** Answers a handshake; the socket carries `session`. */
export function upgraded<T>(session: T, { response, request, context }: Handshake): void {
  const header = (name: string): string => request.getHeader(name);
  response.upgrade<T>(session, header("sec-websocket-key"), "", header("sec-websocket-extensions"), context);
}

/** The form that takes a host and options together, which the library has and its types leave out. */
type Listen = (host: string, port: number, options: number, done: (token: unknown) => void) => void;
const EXCLUSIVE_PORT = 1;

/** Listens on 127.0.0.1; throws if the port is in use. */
export function listen(app: uWS.TemplatedApp, port: number): void {
  (app.listen as unknown as Listen).call(app, "127.0.0.1", port, EXCLUSIVE_PORT, (token) => {
    if (!token) throw new Error(`port ${port} is in use`);
  });
}
