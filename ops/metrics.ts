/**
 * Metrics in Prometheus text format. What is counted stays in plain fields of whoever counts; a family
 * says how to read them, and they are read when Prometheus asks: a hot path never touches this file.
 */
import { collectDefaultMetrics, type Metric, Registry } from "prom-client";

/** One series of a counter or gauge. */
export interface Sample {
  /** Values of the family's labels, in their order. */
  readonly labels: readonly string[];
  readonly value: number;
}

/** What a histogram holds: `buckets` are not cumulative and end with the one beyond all bounds. */
export interface HistogramValue {
  /** Upper bounds, rising, in the unit that the family's name ends in. */
  readonly bounds: readonly number[];
  readonly buckets: ArrayLike<number>;
  readonly sum: number;
  readonly count: number;
}

/** What every family says of itself. */
interface Described {
  /** Snake case; ends in the unit, a counter's in `_total` [Prometheus naming]. */
  readonly name: string;
  /** One sentence. */
  readonly help: string;
}

/** Numbers: one without labels, or a series per combination of label values. */
export interface NumberFamily extends Described {
  readonly type: "counter" | "gauge";
  readonly labels?: readonly string[];
  read(): number | readonly Sample[];
}

/** One of the distributions of a family. */
export interface HistogramSample extends HistogramValue {
  /** Values of the family's labels, in their order. */
  readonly labels: readonly string[];
}

/** Distributions: one without labels, or one per combination of label values. */
export interface HistogramFamily extends Described {
  readonly type: "histogram";
  readonly labels?: readonly string[];
  read(): HistogramValue | readonly HistogramSample[];
}

/** A named group of series of one kind; `read` is called at each scrape and must cost little. */
export type Family = NumberFamily | HistogramFamily;

/** One answer to a scrape. */
export interface Scrape {
  readonly contentType: string;
  readonly body: string;
}

/** The metrics of a process. */
export interface Metrics {
  render(): Promise<Scrape>;
}

/** Series of one family; more are left out and counted, as each costs the scraper memory for months. */
const SERIES_MAX = 256;

interface Value {
  readonly value: number;
  readonly labels: Readonly<Record<string, string | number>>;
  readonly metricName?: string;
}

/** What the registry asks of a metric at a scrape. */
interface Scraped extends Described {
  readonly type: string;
  get(): { name: string; help: string; type: string; values: readonly Value[] };
}

/**
 * Makes metrics of these families and of Node's own (CPU, memory, event loop lag, garbage collection).
 * @throws Error on a name or label that Prometheus would not take, or two families of one name.
 */
export function createMetrics(families: readonly Family[]): Metrics {
  const registry = new Registry();
  let dropped = 0;
  const all: readonly Family[] = [
    ...families,
    {
      name: "confab_scrape_series_dropped_total",
      help: "Series left out of scrapes as their family had too many.",
      type: "counter",
      read: () => dropped,
    },
  ];
  for (const family of all) {
    check(family);
    const metric: Scraped = {
      name: family.name,
      help: family.help,
      type: family.type,
      get: () => {
        const values = family.type === "histogram" ? histogramValues(family) : numberValues(family);
        if (values.length <= SERIES_MAX) return { ...metric, values };
        dropped += values.length - SERIES_MAX;
        return { ...metric, values: values.slice(0, SERIES_MAX) };
      },
    };
    // The library's own classes hash labels at every increment and cannot take a ready histogram; its
    // registry asks no more of a metric than this.
    registry.registerMetric(metric as unknown as Metric);
  }
  collectDefaultMetrics({ register: registry });
  return { render: async () => ({ contentType: registry.contentType, body: await registry.metrics() }) };
}

/** The series of counts per word, such as those per code; the words are the values of one label. */
export function samplesOf(counts: ReadonlyMap<string, number>): readonly Sample[] {
  return Array.from(counts, ([word, value]) => ({ labels: [word], value }));
}

function check(family: Family): void {
  const labels = family.labels ?? [];
  if (!/^[a-z][a-z0-9_]*$/.test(family.name)) throw new Error(`"${family.name}" is no name of a metric.`);
  if ((family.type === "counter") !== family.name.endsWith("_total")) {
    throw new Error(`${family.name}: a counter's name ends in _total, and no other's does.`);
  }
  if (family.help === "") throw new Error(`${family.name} has no help.`);
  for (const label of labels) {
    if (!/^[a-z][a-z0-9_]*$/.test(label) || label === "le") throw new Error(`"${label}" is no label.`);
  }
}

function numberValues(family: NumberFamily): Value[] {
  const read = family.read();
  if (typeof read === "number") return [{ value: read, labels: {} }];
  return read.map((sample) => ({ value: sample.value, labels: labelled(family, sample.labels) }));
}

function histogramValues(family: HistogramFamily): Value[] {
  const read = family.read();
  if ("bounds" in read) return distribution(family.name, read, {});
  return read.flatMap((sample) => distribution(family.name, sample, labelled(family, sample.labels)));
}

function labelled(family: Family, values: readonly string[]): Record<string, string> {
  return Object.fromEntries((family.labels ?? []).map((name, at) => [name, values[at] ?? ""]));
}

function distribution(name: string, value: HistogramValue, labels: Readonly<Record<string, string>>): Value[] {
  const { bounds, buckets, sum, count } = value;
  let below = 0;
  const values: Value[] = bounds.map((le, at) => {
    below += buckets[at] ?? 0;
    return { metricName: `${name}_bucket`, labels: { ...labels, le }, value: below };
  });
  values.push({ metricName: `${name}_bucket`, labels: { ...labels, le: "+Inf" }, value: count });
  values.push({ metricName: `${name}_sum`, labels, value: sum });
  values.push({ metricName: `${name}_count`, labels, value: count });
  return values;
}
