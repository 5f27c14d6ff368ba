import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readdirSync } from "node:fs";
import { test } from "node:test";
import { promisify } from "node:util";
import { parse, parseAllDocuments } from "yaml";
import { readText } from "./tidy.tree.ts";

interface SecretKey {
  readonly name: string;
  readonly key: string;
  readonly optional?: boolean;
}

interface Container {
  readonly image: string;
  readonly env?: readonly { readonly name: string; readonly valueFrom?: { readonly secretKeyRef: SecretKey } }[];
  readonly ports?: readonly { readonly name: string; readonly containerPort: number }[];
  readonly readinessProbe?: { readonly httpGet: { readonly path: string; readonly port: string } };
  readonly livenessProbe?: { readonly httpGet: { readonly path: string; readonly port: string } };
  readonly lifecycle?: { readonly preStop: { readonly exec: { readonly command: readonly string[] } } };
  readonly securityContext?: Readonly<Record<string, unknown>>;
  readonly volumeMounts?: readonly { readonly mountPath: string }[];
}

/** A manifest, as far as these tests look at it. */
interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
  // biome-ignore lint/suspicious/noExplicitAny: a spec differs by kind, and kubernetes-validate knows them all
  readonly spec: any;
}

const files = readdirSync("kind").filter((name) => name.endsWith(".yaml") && name !== "cluster.yaml");
const manifests = files.flatMap((name) =>
  parseAllDocuments(readText(`kind/${name}`)).map((document): Manifest => {
    assert.deepEqual(document.errors, [], name);
    return document.toJS();
  }),
);

function find(kind: string, name: string): Manifest {
  const found = manifests.filter((manifest) => manifest.kind === kind && manifest.metadata.name === name);
  assert.equal(found.length, 1, `${kind} ${name}`);
  return found[0] as Manifest;
}

const deployment = find("Deployment", "confab");
const pod = deployment.spec.template;
const node = pod.spec.containers[0] as Container;

test("Every setting that a node is given in the manifests is a setting.", async () => {
  const config = await import(new URL("../engine/config.js", import.meta.url).href);
  const known: readonly string[] = config.settingNames();
  const given = (node.env ?? []).map(({ name }) => name);
  assert.ok(given.includes("MONGODB_URL"));
  assert.deepEqual(
    given.filter((name) => !known.includes(name)),
    [],
  );
});

test("Secrets are given by reference, and up.sh makes every one that is not optional.", () => {
  const made = new Map(
    [...readText("kind/up.sh").matchAll(/metadata: \{ name: ([\w-]+),.*\nstringData:\n((?: {2}\w+: .*\n)+)/g)].map(
      ([, name = "", data = ""]) => [name, [...data.matchAll(/^ {2}(\w+):/gm)].map((match) => match[1])] as const,
    ),
  );
  assert.deepEqual([...made.keys()].sort(), ["confab", "confab-stores"]);
  for (const manifest of manifests) {
    assert.notEqual(manifest.kind, "Secret", "no secret is committed");
    for (const { env = [] } of (manifest.spec?.template?.spec?.containers ?? []) as Container[]) {
      for (const entry of env) {
        const secret = entry.valueFrom?.secretKeyRef;
        const named = /PASSWORD|SECRET|KEY|_URL|AUTH$/.test(entry.name);
        assert.equal(secret !== undefined, named, `${manifest.metadata.name}: ${entry.name}`);
        if (secret === undefined || secret.optional === true) continue;
        assert.ok(made.get(secret.name)?.includes(secret.key), `${secret.name}/${secret.key} is made by nobody`);
      }
    }
  }
});

test("A node is asked whether it is ready, told to wait before it ends, and has time for both.", async () => {
  assert.deepEqual(node.readinessProbe?.httpGet, { path: "/health/ready", port: "http" });
  assert.deepEqual(node.livenessProbe?.httpGet, { path: "/health/live", port: "http" });
  const [command, seconds] = node.lifecycle?.preStop.exec.command ?? [];
  assert.equal(command, "sleep");
  const grace = Number(/GRACE_MS = ([\d_]+);/.exec(readText("engine/main.ts"))?.[1]?.replaceAll("_", "")) / 1_000;
  assert.ok(grace > 0);
  assert.ok(Number(seconds) + grace < pod.spec.terminationGracePeriodSeconds);
});

test("A node runs without root, on a read-only file system with /data and /tmp to write to.", () => {
  assert.equal(pod.spec.securityContext.runAsNonRoot, true);
  assert.equal(pod.spec.automountServiceAccountToken, false);
  assert.equal(node.securityContext?.["readOnlyRootFilesystem"], true);
  assert.equal(node.securityContext?.["allowPrivilegeEscalation"], false);
  assert.deepEqual(node.volumeMounts?.map(({ mountPath }) => mountPath).sort(), ["/data", "/tmp"]);
});

test("Service, budget, autoscaler, policy and Ingress speak of the Deployment's pods.", () => {
  const labels = { app: "confab" };
  assert.deepEqual(pod.metadata.labels, labels);
  assert.deepEqual(deployment.spec.selector.matchLabels, labels);
  const service = find("Service", "confab");
  assert.deepEqual(service.spec.selector, labels);
  assert.equal(service.spec.ports[0].targetPort, node.ports?.[0]?.name);
  assert.deepEqual(find("PodDisruptionBudget", "confab").spec.selector.matchLabels, labels);
  assert.deepEqual(find("NetworkPolicy", "confab").spec.podSelector.matchLabels, labels);
  const autoscaler = find("HorizontalPodAutoscaler", "confab").spec;
  assert.deepEqual(autoscaler.scaleTargetRef, { apiVersion: "apps/v1", kind: "Deployment", name: "confab" });
  assert.equal(autoscaler.metrics[0].pods.metric.name, "confab_connections");
  const ingress = find("Ingress", "confab").spec;
  assert.equal(ingress.ingressClassName, find("IngressClass", "traefik").metadata.name);
  for (const { path, backend } of ingress.rules[0].http.paths) {
    assert.equal(backend.service.name, service.metadata.name, path);
    assert.equal(backend.service.port.name, service.spec.ports[0].name, path);
  }
});

test("Everything but what is the controller's is in the namespace, and all else than what is named is closed.", () => {
  for (const { kind, metadata } of manifests) {
    if (/^(Namespace|ClusterRole|ClusterRoleBinding|IngressClass)$/.test(kind)) continue;
    const expected = metadata.name === "traefik" ? "ingress" : "confab";
    assert.equal(metadata.namespace, expected, `${kind} ${metadata.name}`);
  }
  const closed = find("NetworkPolicy", "closed").spec;
  assert.deepEqual(closed, { podSelector: {}, policyTypes: ["Ingress", "Egress"] });
});

test("The local cluster, the compose file and up.sh speak of the same image and port.", () => {
  const compose = parse(readText("docker-compose.yml"), { merge: true });
  assert.equal(node.image, compose.services.confab.image);
  const { version } = JSON.parse(readText("package.json"));
  assert.equal(node.image, `confab:${version}`);
  assert.match(readText("kind/up.sh"), new RegExp(`IMAGE=${node.image}\n`));
  const cluster = parse(readText("kind/cluster.yaml"));
  assert.equal(
    cluster.nodes[0].extraPortMappings[0].containerPort,
    find("Service", "traefik").spec.ports[0].nodePort,
    "the Ingress is reached from outside",
  );
});

test("up.sh is sound shell, and applies every manifest there is.", async () => {
  await promisify(execFile)("bash", ["-n", "kind/up.sh"]);
  const script = readText("kind/up.sh");
  for (const file of [...files, "cluster.yaml"]) assert.ok(script.includes(file), `${file} is applied by nobody`);
});
