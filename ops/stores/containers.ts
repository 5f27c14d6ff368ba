/**
 * The same stores from their own images, where a container engine and the images are: `STORES=containers` in the
 * environment has every test and drill start them by testcontainers instead of as processes of this machine.
 */
import { rm } from "node:fs/promises";
import type { GenericContainer } from "testcontainers";
import { isUp, newPlace, StoreMissing, type StorePlace, type StoreRecipe, type StoreServer } from "./process.ts";

/** The images, as in docker-compose.yml; a test holds the two together. */
export const IMAGES = Object.freeze({ postgres: "postgres:17", mongodb: "mongo:8.0", redis: "redis:8" });

/** How one kind of server is run in a container. */
export interface ContainerRecipe extends Pick<StoreRecipe, "name" | "answers" | "url"> {
  readonly image: string;
  /** The command and its arguments: a server that listens on the place's port, which is the same inside. */
  readonly command: (place: StorePlace) => readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** Where the place's folder is inside, for drills that change what a server kept; it then runs as the user we are. */
  readonly folder?: string;
}

/** The part of an engine's container that is used here. */
interface Engine {
  start(): Promise<unknown>;
  stop(options: { t: number }): Promise<unknown>;
  kill(options: { signal: string }): Promise<unknown>;
  pause(): Promise<unknown>;
  unpause(): Promise<unknown>;
  inspect(): Promise<{ readonly State: { readonly Pid: number } }>;
  remove(options: { force: boolean; v: boolean }): Promise<unknown>;
}

/** How long it may take until a server that was started answers, and until it has ended in order. */
const UP_MS = 60_000;
const STOP_S = 15;
const AGAIN_MS = 50;

/** Whether the environment asks for containers. Throws an `Error` where `STORES` is neither of its two words. */
export function containersWanted(): boolean {
  const { STORES = "" } = process.env;
  if (STORES !== "" && STORES !== "processes" && STORES !== "containers")
    throw new Error(`STORES must be processes or containers, not "${STORES}".`);
  return STORES === "containers";
}

/**
 * Starts a server in a container, published on a spare port of 127.0.0.1; resolves when it answers. Rejects with
 * `StoreMissing` where no engine or no image can be had.
 */
export async function startContainer(recipe: ContainerRecipe): Promise<StoreServer> {
  // Loaded on demand: it takes a while, and most runs do without.
  const { GenericContainer, getContainerRuntimeClient, ImageName, StartupCheckStrategy } = await import(
    "testcontainers"
  );
  const { image, container } = await getContainerRuntimeClient().catch((error: unknown) => {
    throw new StoreMissing(`STORES=containers asks for a container engine, and none answers: ${said(error)}`);
  });
  await image
    .pull(ImageName.fromString(recipe.image), { force: false, platform: undefined })
    .catch((error: unknown) => {
      throw new StoreMissing(`The image ${recipe.image} cannot be had: ${said(error)}`);
    });
  const place = await newPlace(recipe.name);
  const { port } = place;

  /** Whether it is up is asked here, at every start, from outside and in the store's own words. */
  class Unwatched extends StartupCheckStrategy {
    override async checkStartupState(): Promise<"SUCCESS"> {
      return "SUCCESS";
    }
  }

  /** Published on 127.0.0.1 alone, as nothing in it asks for a password. */
  class Local extends GenericContainer {
    protected override async beforeContainerCreated(): Promise<void> {
      this.hostConfig.PortBindings = { [`${port}/tcp`]: [{ HostIp: "127.0.0.1", HostPort: String(port) }] };
    }

    /** Known from its creation on, so that one that does not come up is removed, too. */
    protected override async containerCreated(id: string): Promise<void> {
      server.engine = container.getById(id);
    }
  }

  const made = described(new Local(recipe.image), recipe, place).withWaitStrategy(new Unwatched());
  const server = new ContainerServer(recipe, place, () => made.start());
  try {
    await server.start();
    return server;
  } catch (error) {
    await server.close();
    throw error;
  }
}

/** A container as the recipe has it. */
function described(container: GenericContainer, recipe: ContainerRecipe, place: StorePlace): GenericContainer {
  const { command, env = {}, folder } = recipe;
  container
    .withCommand([...command(place)])
    .withEnvironment({ ...env })
    .withExposedPorts({ container: place.port, host: place.port });
  if (folder === undefined) return container;
  const user = `${process.getuid?.() ?? 0}:${process.getgid?.() ?? 0}`;
  return container.withBindMounts([{ source: place.folder, target: folder }]).withUser(user);
}

/** A server that is a container. */
class ContainerServer implements StoreServer {
  readonly place: StorePlace;
  readonly url: string;
  /** Set once it is created. */
  engine: Engine | undefined;
  readonly #recipe: ContainerRecipe;
  readonly #create: () => Promise<unknown>;
  #pid: number | undefined;
  #paused = false;
  /** Pauses and their ends, in order; the next act waits for them. */
  #acts: Promise<unknown> = Promise.resolve();

  constructor(recipe: ContainerRecipe, place: StorePlace, create: () => Promise<unknown>) {
    this.#recipe = recipe;
    this.#create = create;
    this.place = place;
    this.url = recipe.url(place);
  }

  get running(): boolean {
    return this.#pid !== undefined;
  }

  /** Its id on this machine, where the engine runs its containers here. */
  get pid(): number | undefined {
    return this.#pid;
  }

  async start(): Promise<void> {
    if (this.engine === undefined) await this.#create();
    else await this.engine.start();
    const deadline = performance.now() + UP_MS;
    while (!(await isUp(this.#recipe, this.place))) {
      if (performance.now() > deadline)
        throw new Error(`${this.#recipe.image} did not answer within ${UP_MS} ms of its start.`);
      await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
    }
    this.#pid = (await this.engine?.inspect())?.State.Pid;
  }

  async stop(): Promise<void> {
    await this.#end((engine) => engine.stop({ t: STOP_S }));
  }

  async kill(): Promise<void> {
    await this.#end((engine) => engine.kill({ signal: "SIGKILL" }));
  }

  pause(): void {
    if (this.#paused) return;
    this.#paused = true;
    this.#acts = this.#acts.then(() => this.engine?.pause());
    this.#acts.catch(() => undefined);
  }

  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.#acts = this.#acts.then(() => this.engine?.unpause());
    this.#acts.catch(() => undefined);
  }

  async #end(how: (engine: Engine) => Promise<unknown>): Promise<void> {
    await this.#acts;
    if (this.engine === undefined || this.#pid === undefined) return;
    await how(this.engine);
    this.#pid = undefined;
    this.#paused = false;
  }

  async close(): Promise<void> {
    this.resume();
    await this.#acts.catch(() => undefined);
    await this.engine?.remove({ force: true, v: true }).catch(unlessGone);
    this.engine = undefined;
    this.#pid = undefined;
    await rm(this.place.folder, { recursive: true, force: true });
  }
}

/** Testcontainers removes one that could not be started. */
function unlessGone(error: { readonly statusCode?: number }): void {
  if (error.statusCode !== 404) throw error;
}

function said(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
