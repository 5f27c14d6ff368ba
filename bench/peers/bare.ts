/**
 * The bare server that Confab is measured against: uWebSockets.js and nothing else. No protocol, no accounts, no order,
 * no storage. The path of the handshake names the topic; whatever a client sends there makes the server publish one
 * constant frame to that topic, and answer the sender with another if answers are asked for.
 *
 * Usage: `node bare.js PORT MESSAGE_BYTES ANSWER_BYTES`; 0 answer bytes is no answer.
 *
 * It is written in the fastest form known for each use. Without answers, what one turn of the event loop brings is
 * published from one `setImmediate`, outside every handler: inside one the sender's own socket is corked, and more than
 * 32 messages for its topic are flushed with one system call each. Of more than 32, which cost each receiver a second
 * write, those that would not fill one wait for the next turn. With answers, rooms are many and a turn brings few
 * messages for each, so publishing in the handler is the faster form. There the sender's socket is corked: its own
 * copy, sent with the answer, shares one write with it; published to the whole topic, it would take one of its own.
 */
import { listen, SOCKETS, upgraded, uWS } from "./bare.socket.ts";

interface Session {
  readonly topic: string;
}

const [port, messageBytes, answerBytes] = process.argv.slice(2).map(Number);
if (port === undefined || messageBytes === undefined || answerBytes === undefined) {
  throw new Error("usage: bare.js PORT MESSAGE_BYTES ANSWER_BYTES");
}

// The load client tells frames apart by their first byte, which is that of a STOMP MESSAGE and RECEIPT.
const message = Buffer.from("M".padEnd(messageBytes, "x"));
const answer = Buffer.from("R".padEnd(answerBytes, "x"));
/** Frames of a receiver in one write at most. */
const FRAMES_PER_WRITE = 32;
/** Topics that wait to be published to; the load's window bounds them. */
const waiting: string[] = [];

const app = uWS.App();

function flush(): void {
  const rest = waiting.length < FRAMES_PER_WRITE ? 0 : waiting.length % FRAMES_PER_WRITE;
  for (const topic of waiting.splice(0, waiting.length - rest)) app.publish(topic, message, false);
  if (rest > 0) setImmediate(flush);
}

app.ws<Session>("/*", {
  ...SOCKETS,
  upgrade: (response, request, context) => upgraded({ topic: request.getUrl() }, { response, request, context }),
  open: (socket) => {
    socket.subscribe(socket.getUserData().topic);
  },
  message: (socket) => {
    const { topic } = socket.getUserData();
    if (answerBytes === 0) {
      if (waiting.push(topic) === 1) setImmediate(flush);
    } else {
      socket.publish(topic, message, false);
      socket.send(message, false);
      socket.send(answer, false);
    }
  },
});

listen(app, port);
