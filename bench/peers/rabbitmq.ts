/** RabbitMQ's Web STOMP from Debian's package, as a node of its own. */
import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { CLIENT_CORE, freePort, listening, start } from "../process.ts";
import type { Target } from "../targets.ts";
import { type Launch, type Place, startPeer } from "./launch.ts";
import { type Peer, PeerMissing } from "./peer.ts";

const PACKAGE = "rabbitmq-server";
/** The package's own start script, which becomes the server; the one in PATH changes the user and the folders. */
const SCRIPT = /^.*\/rabbitmq_server-([\d.]+)\/sbin\/rabbitmq-server$/m;
const IDLE_MS_MAX = 3_600_000;

interface Installed {
  readonly script: string;
  readonly version: string;
}

let known: Installed | null | undefined;

/** Where Debian's package lies; null where it is not installed. */
function installed(): Installed | null {
  if (known === undefined) {
    const files = spawnSync("dpkg", ["-L", PACKAGE], { encoding: "utf8" }).stdout ?? "";
    const [script, version] = SCRIPT.exec(files) ?? [];
    known = script === undefined || version === undefined ? null : { script, version };
  }
  return known;
}

/** No listener but that of Web STOMP, on 127.0.0.1; users as they are by default. */
function configuration(port: number): string {
  return [
    "listeners.tcp = none",
    "stomp.listeners.tcp = none",
    "web_stomp.tcp.ip = 127.0.0.1",
    `web_stomp.tcp.port = ${port}`,
    // Who only listens, and beats no heart, would be cut after a minute.
    `web_stomp.ws_opts.idle_timeout = ${IDLE_MS_MAX}`,
    "log.console = true",
    "log.console.level = error",
    "log.file = false",
    "",
  ].join("\n");
}

/** Erlang's name server, without which no node starts; ours, so that none is left behind by the node. */
async function startNames(port: number): Promise<{ end: () => Promise<void> }> {
  const args = ["-address", "127.0.0.1", "-port", String(port)];
  const names = start({ command: "epmd", args, core: CLIENT_CORE });
  await listening(names, port);
  return names;
}

function launch({ script }: Installed, { port, folder }: Place, ports: { names: number; node: number }): Launch {
  const [config, plugins] = [join(folder, "rabbitmq.conf"), join(folder, "enabled_plugins")];
  writeFileSync(config, configuration(port));
  writeFileSync(plugins, "[rabbitmq_web_stomp].\n");
  return {
    command: script,
    args: [],
    env: {
      // Under systemd the script becomes the server and does not wait beside it: the process id is the server's.
      RUNNING_UNDER_SYSTEMD: "true",
      HOME: folder,
      ERL_EPMD_ADDRESS: "127.0.0.1",
      ERL_EPMD_PORT: String(ports.names),
      RABBITMQ_NODENAME: "bench@localhost",
      RABBITMQ_DIST_PORT: String(ports.node),
      RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: "-kernel inet_dist_use_interface {127,0,0,1}",
      RABBITMQ_CONFIG_FILE: config,
      RABBITMQ_ENABLED_PLUGINS_FILE: plugins,
      RABBITMQ_MNESIA_BASE: join(folder, "mnesia"),
      RABBITMQ_LOG_BASE: join(folder, "log"),
    },
  };
}

async function startRabbitMq(): Promise<Target> {
  const found = installed();
  if (found === null) throw new PeerMissing(`Debian's package ${PACKAGE} is not on this machine`);
  const ports = { names: await freePort(), node: await freePort() };
  const names = await startNames(ports.names);
  try {
    const target = await startPeer(rabbitMq, (place) => launch(found, place, ports));
    const end = async (): Promise<void> => {
      await target.end();
      await names.end();
    };
    return { ...target, end };
  } catch (error) {
    await names.end();
    throw error;
  }
}

export const rabbitMq: Peer = {
  name: "RabbitMQ",
  get version() {
    return installed()?.version ?? "";
  },
  dialect: "rabbitmq",
  // A window of 64 takes it longer than a timed part can be.
  windows: [1, 16],
  warmSeconds: 2,
  seconds: 6,
  start: startRabbitMq,
};
