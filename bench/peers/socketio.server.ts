/**
 * A Socket.IO server on its default engine, as its guide writes one: whoever joins a room gets what is sent to it.
 *
 * Usage: `node socketio.server.js PORT MODULE`; the module is the path of the package `socket.io`.
 */
import { createServer, type Server as HttpServer } from "node:http";
import { createRequire } from "node:module";

/** What is used of the package, which is not in the tree. */
interface Socket {
  join(room: string): void;
  on(event: "join", listener: (room: string, done: () => void) => void): void;
  on(event: "send", listener: (room: string, body: string) => void): void;
}
interface Server {
  on(event: "connection", listener: (socket: Socket) => void): void;
  to(room: string): { emit(event: string, body: string): void };
}
interface Package {
  readonly Server: new (http: HttpServer) => Server;
}

const [port, module] = process.argv.slice(2);
if (port === undefined || module === undefined) throw new Error("usage: socketio.server.js PORT MODULE");

const http = createServer();
const library = createRequire(import.meta.url)(module) as Package;
const server = new library.Server(http);

server.on("connection", (socket) => {
  socket.on("join", (room, done) => {
    socket.join(room);
    done();
  });
  socket.on("send", (room, body) => {
    server.to(room).emit("message", body);
  });
});
http.listen(Number(port), "127.0.0.1");
