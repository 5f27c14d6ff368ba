/** Spring Boot's simple STOMP broker with its defaults: the application in the folder `spring`, built by Maven. */
import { join } from "node:path";
import { startPeer } from "./launch.ts";
import { type Peer, PeerMissing, WINDOWS } from "./peer.ts";
import { cached, has } from "./tools.ts";

const VERSION = "3.5.0";

export const spring: Peer = {
  name: "Spring Boot",
  version: VERSION,
  dialect: "spring",
  windows: WINDOWS,
  warmSeconds: 6,
  seconds: 3,
  start: async () => {
    if (!has("java", "-version")) throw new PeerMissing("java is not on this machine");
    const folder = await cached({
      name: `spring-broker-${VERSION}`,
      build: async ({ copy, run }) => {
        if (!has("mvn", "--version")) throw new Error("mvn is not on this machine");
        await copy("bench/peers/spring/pom.xml", "pom.xml");
        await copy("bench/peers/spring/Broker.java", "src/main/java/confab/peer/Broker.java");
        await run("mvn", ["--batch-mode", "--quiet", "package"]);
      },
    });
    return startPeer(spring, (place) => ({
      command: "java",
      args: [
        `-Djava.io.tmpdir=${place.folder}`,
        "-jar",
        join(folder, "target", "broker.jar"),
        "--server.address=127.0.0.1",
        `--server.port=${place.port}`,
        "--spring.main.banner-mode=off",
        "--logging.level.root=warn",
      ],
    }));
  },
};
