/**
 * The floor of what a connection can cost: WebSockets and STOMP's dialogue without any of its meaning. A CONNECT is
 * answered with a constant CONNECTED, a SUBSCRIBE with one topic for all and a constant RECEIPT; nothing is verified,
 * read or remembered.
 *
 * Usage: `node floor.js PORT`.
 */
import { listen, SOCKETS, upgraded, uWS } from "./bare.socket.ts";

const TOPIC = "all";
const CONNECTED = Buffer.from("CONNECTED\nversion:1.2\nheart-beat:0,0\n\n\0");
const RECEIPT = Buffer.from("RECEIPT\nreceipt-id:subscribed\n\n\0");
const FIRST_OF_CONNECT = 0x43;

const [port] = process.argv.slice(2).map(Number);
if (port === undefined) throw new Error("usage: floor.js PORT");

const app = uWS.App();
app.ws<object>("/*", {
  ...SOCKETS,
  upgrade: (response, request, context) => upgraded({}, { response, request, context }),
  message: (socket, frame) => {
    if (new Uint8Array(frame)[0] === FIRST_OF_CONNECT) {
      socket.send(CONNECTED, false);
      return;
    }
    socket.subscribe(TOPIC);
    socket.send(RECEIPT, false);
  },
});
listen(app, port);
