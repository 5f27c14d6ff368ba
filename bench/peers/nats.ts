/** NATS server, core publish and subscribe, over its WebSocket port. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { startPeer } from "./launch.ts";
import { type Peer, WINDOWS } from "./peer.ts";
import { goBinary } from "./tools.ts";

const VERSION = "2.12.1";

export const nats: Peer = {
  name: "NATS",
  version: VERSION,
  dialect: "nats",
  windows: WINDOWS,
  warmSeconds: 1,
  seconds: 1.5,
  start: async () => {
    const command = await goBinary({
      name: "nats-server",
      module: "github.com/nats-io/nats-server/v2",
      version: VERSION,
    });
    return startPeer(nats, ({ port, folder }) => {
      const file = join(folder, "nats.conf");
      // -1 is a port of its choice for clients over plain TCP, of which there are none.
      writeFileSync(file, `listen: "127.0.0.1:-1"\nwebsocket { listen: "127.0.0.1:${port}", no_tls: true }\n`);
      return { command, args: ["--config", file], env: { GOMAXPROCS: "1" } };
    });
  },
};
