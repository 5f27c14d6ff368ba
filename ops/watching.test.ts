import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { test } from "node:test";
import { promisify } from "node:util";
import { parse } from "yaml";
import { createMetrics, type Family } from "./metrics.ts";
import { readText } from "./tidy.tree.ts";

const run = promisify(execFile);
// The built modules next door, read as data: ops import nobody's code.
const built = async (path: string): Promise<Record<string, unknown>> =>
  import(new URL(`../${path}`, import.meta.url).href);

/** Something that has every member and is an empty list: families name themselves before anything is read. */
const anything: unknown = new Proxy(() => undefined, {
  get: (_target, name) => (name === Symbol.iterator ? [][Symbol.iterator] : anything),
  apply: () => anything,
});

/** Every series that a node shows, with its labels; undefined where those are not Confab's own. */
async function seriesShown(): Promise<ReadonlyMap<string, readonly string[] | undefined>> {
  const { metricFamilies } = await built("engine/families.js");
  const families = (metricFamilies as (sources: unknown) => readonly Family[])(anything);
  const shown = new Map<string, readonly string[] | undefined>();
  const { body } = await createMetrics([]).render();
  for (const [, name = ""] of body.matchAll(/^# TYPE (\w+) /gm)) shown.set(name, undefined);
  for (const family of families) {
    const labels = family.labels ?? [];
    if (family.type !== "histogram") shown.set(family.name, labels);
    else {
      shown.set(`${family.name}_bucket`, [...labels, "le"]);
      for (const part of ["sum", "count"]) shown.set(`${family.name}_${part}`, labels);
    }
  }
  return shown;
}

/** Labels that Prometheus adds to every series of a target. */
const TARGET_LABELS = ["instance", "job"];

/** What is wrong with an expression: series that no node shows, and labels that they do not have. */
function faults(expr: string, shown: ReadonlyMap<string, readonly string[] | undefined>): readonly string[] {
  const found: string[] = [];
  for (const [, name = "", matchers = ""] of expr.matchAll(/\b((?:confab|process|nodejs)_\w+)(?:\{([^}]*)\})?/g)) {
    if (!shown.has(name)) found.push(`${name} is shown by no node: ${expr}`);
    const labels = shown.get(name);
    for (const [, label = ""] of matchers.matchAll(/(\w+)\s*[=!]~?"/g)) {
      if (labels !== undefined && ![...TARGET_LABELS, ...labels].includes(label))
        found.push(`${name} has no label ${label}`);
    }
    // Where one series stands alone, what it is summed by are labels of its own.
    if ((expr.match(/\b(confab|process|nodejs)_\w+/g) ?? []).length > 1 || labels === undefined) continue;
    for (const [, by = ""] of expr.matchAll(/\bby \(([^)]*)\)/g)) {
      for (const label of by.split(", ")) {
        if (![...TARGET_LABELS, ...labels].includes(label)) found.push(`${name} is summed by ${label}: ${expr}`);
      }
    }
  }
  return found;
}

interface Rule {
  readonly alert: string;
  readonly expr: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
}

interface Panel {
  readonly id: number;
  readonly type: string;
  readonly title: string;
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
  readonly datasource?: { readonly uid: string };
  readonly targets?: readonly { readonly expr: string }[];
}

const rules = (parse(readText("ops/alerts.yml")) as { groups: { rules: Rule[] }[] }).groups.flatMap(
  (group) => group.rules,
);
const dashboard = JSON.parse(readText("ops/grafana/dashboards/confab.json")) as { panels: Panel[] };

test("Alerts ask for series and labels that nodes show, and each says how urgent it is.", async () => {
  const shown = await seriesShown();
  assert.ok(shown.has("confab_ready") && shown.has("process_open_fds"));
  assert.deepEqual(
    rules.flatMap((rule) => faults(rule.expr, shown)),
    [],
  );
  for (const { alert, labels, annotations } of rules) {
    assert.match(labels["severity"] ?? "", /^(page|ticket)$/, alert);
    assert.match(annotations["summary"] ?? "", /\.$/, alert);
  }
  assert.equal(new Set(rules.map(({ alert }) => alert)).size, rules.length);
});

test("The runbook says of every alert how urgent it is and what to do, and of no other.", () => {
  const section = readText("ops/runbook.md").split("\n## Alerts\n")[1]?.split("\n## ")[0] ?? "";
  const told = [...section.matchAll(/^\| (`\w+`(?:, `\w+`)*) \| ([a-z, ]+) \| .+ \|$/gm)].flatMap(
    ([, names = "", words = ""]) => {
      const severities = words.split(", ");
      return [...names.matchAll(/\w+/g)].map(([name], at) => [name, severities[at] ?? severities[0]]);
    },
  );
  assert.deepEqual(told.toSorted(), rules.map(({ alert, labels }) => [alert, labels["severity"]]).toSorted());
});

test("Alerts name codes that there are.", async () => {
  const codes = Object.keys((await built("actors/codes.js"))["CODES"] as object);
  const named = rules.flatMap(({ expr }) => [...expr.matchAll(/code=~?"([^"]+)"/g)]);
  assert.ok(named.length > 0);
  for (const [, words = ""] of named) for (const word of words.split("|")) assert.ok(codes.includes(word), word);
});

test("The dashboard asks for series and labels that nodes show, of the data source that is provisioned.", async () => {
  const shown = await seriesShown();
  const panels = dashboard.panels.filter(({ type }) => type !== "row");
  const provisioned = parse(readText("ops/grafana/provisioning/datasources/prometheus.yaml")) as {
    datasources: { uid: string }[];
  };
  for (const { title, datasource, targets = [] } of panels) {
    assert.equal(datasource?.uid, provisioned.datasources[0]?.uid, title);
    assert.ok(targets.length > 0, title);
    for (const { expr } of targets) assert.deepEqual(faults(expr, shown), [], title);
  }
});

test("The dashboard shows every metric of a node but those that a number over time says little of.", async () => {
  const untold = ["confab_info", "confab_unknown_acks_total", "confab_scrape_series_dropped_total"];
  const asked = JSON.stringify(dashboard);
  const names = [...(await seriesShown()).keys()].filter((name) => name.startsWith("confab_"));
  const base = new Set(names.map((name) => name.replace(/_(bucket|sum|count)$/, "")));
  assert.deepEqual(
    [...base].filter((name) => !asked.includes(name) && !untold.includes(name)),
    [],
  );
});

test("Panels of the dashboard have ids of their own, and none lies on another.", () => {
  const { panels } = dashboard;
  assert.equal(new Set(panels.map(({ id }) => id)).size, panels.length);
  for (const [at, { gridPos: a, title }] of panels.entries()) {
    assert.ok(a.x + a.w <= 24, title);
    for (const { gridPos: b, title: other } of panels.slice(at + 1)) {
      const apart = a.x + a.w <= b.x || b.x + b.w <= a.x || a.y + a.h <= b.y || b.y + b.h <= a.y;
      assert.ok(apart, `${title} lies on ${other}`);
    }
  }
});

for (const args of [
  ["check", "rules", "alerts.yml"],
  ["check", "config", "prometheus.yml"],
  ["test", "rules", "alerts.test.yml"],
]) {
  test(`promtool ${args.join(" ")} finds nothing.`, async (context) => {
    try {
      await run("promtool", args, { cwd: "ops" });
    } catch (error) {
      const { code, stdout, stderr } = error as { code?: unknown; stdout?: string; stderr?: string };
      assert.equal(code, "ENOENT", `${stdout}${stderr}`);
      context.skip("promtool is not on the PATH");
    }
  });
}
