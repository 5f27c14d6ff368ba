/**
 * For tests: so much of a container engine's API as one server needs. A container is its command as a process of this
 * machine, with the folder that is mounted into it in place of the one inside.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";

/** What a container is made of, as the engine's API has it. */
export interface ContainerMade {
  readonly Image: string;
  readonly Cmd: readonly string[];
  readonly User?: string;
  readonly HostConfig: {
    readonly PortBindings: Readonly<Record<string, readonly { readonly HostIp: string; readonly HostPort: string }[]>>;
    readonly Binds?: readonly string[];
  };
}

/** An engine on a port of 127.0.0.1 that has every image. */
export class ScriptedEngine {
  /** By id; removed ones are not here. */
  readonly containers = new Map<string, ContainerMade>();
  /** All requests that changed something, such as `POST kill`. */
  readonly asked: string[] = [];
  readonly #processes = new Map<string, ChildProcess>();
  readonly #server: Server;

  private constructor() {
    this.#server = createServer((request, response) => {
      this.#answer(request, response).catch((error: unknown) => json(response, 500, { message: String(error) }));
    });
  }

  static async open(): Promise<ScriptedEngine> {
    const engine = new ScriptedEngine();
    await once(engine.#server.listen(0, "127.0.0.1"), "listening");
    return engine;
  }

  /** As `DOCKER_HOST` names it. */
  get url(): string {
    return `tcp://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async close(): Promise<void> {
    for (const child of this.#processes.values()) child.kill("SIGKILL");
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = new URL(request.url ?? "", this.url).pathname.replace(/^\/v[\d.]+/, "");
    const body = await text(request);
    if (path === "/info") return json(response, 200, { OperatingSystem: "Linux", OSType: "linux" });
    if (path.startsWith("/images/")) return json(response, 200, { Id: "image" });
    if (path === "/containers/json") return json(response, 200, []);
    if (path === "/containers/create") {
      const id = `c${this.containers.size}`;
      this.containers.set(id, JSON.parse(body) as ContainerMade);
      return json(response, 201, { Id: id });
    }
    const [, id = "", verb = ""] = /^\/containers\/(\w+)(?:\/(\w+))?$/.exec(path) ?? [];
    const made = this.containers.get(id);
    if (made === undefined) return json(response, 404, { message: "no such container" });
    if (verb === "json") return json(response, 200, this.#inspected(id, made));
    this.asked.push(`${request.method} ${verb}`.trim());
    if (verb === "start") this.#run(id, made);
    else await this.#signal(id, verb);
    if (request.method === "DELETE") this.containers.delete(id);
    response.writeHead(204).end();
  }

  #run(id: string, { Cmd, HostConfig }: ContainerMade): void {
    const [source = "", inside = ""] = HostConfig.Binds?.[0]?.split(":") ?? [];
    const [file = "", ...args] = Cmd.map((word) => (word === inside ? source : word));
    this.#processes.set(id, spawn(file, args, { stdio: "ignore" }));
  }

  async #signal(id: string, verb: string): Promise<void> {
    const child = this.#processes.get(id);
    if (child === undefined) return;
    if (verb === "pause" || verb === "unpause") return void child.kill(verb === "pause" ? "SIGSTOP" : "SIGCONT");
    this.#processes.delete(id);
    const gone = once(child, "exit");
    child.kill(verb === "stop" ? "SIGTERM" : "SIGKILL");
    await gone;
  }

  #inspected(id: string, { HostConfig }: ContainerMade): object {
    const [pid, at] = [this.#processes.get(id)?.pid ?? 0, new Date(0).toISOString()];
    return {
      ...{ Id: id, Name: `/${id}`, Config: { Labels: {} }, HostConfig },
      State: { Running: pid > 0, Pid: pid, StartedAt: at, FinishedAt: at },
      NetworkSettings: { Ports: HostConfig.PortBindings, Networks: {} },
    };
  }
}

function json(response: ServerResponse, status: number, value: unknown): void {
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(value));
}
