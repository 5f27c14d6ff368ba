/** Centrifugo with its in-memory broker, without tokens and without history. */
import { startPeer } from "./launch.ts";
import { type Peer, WINDOWS } from "./peer.ts";
import { goBinary } from "./tools.ts";

const VERSION = "5.4.9";

export const centrifugo: Peer = {
  name: "Centrifugo",
  version: VERSION,
  dialect: "centrifugo",
  windows: WINDOWS,
  warmSeconds: 1,
  seconds: 1.5,
  start: async () => {
    const module = "github.com/centrifugal/centrifugo/v5";
    const command = await goBinary({ name: "centrifugo", module, version: VERSION });
    return startPeer(centrifugo, ({ port, folder }) => ({
      command,
      // Insecure means that whoever connects may subscribe and publish: less work for it than Confab's checks.
      args: [
        "--address=127.0.0.1",
        `--port=${port}`,
        "--client_insecure",
        "--log_level=error",
        `--config=${folder}/none.json`,
      ],
      env: { GOMAXPROCS: "1" },
    }));
  },
};
