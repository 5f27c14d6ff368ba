/**
 * How requests are held against their schemas: nothing is stripped and nothing in a body is converted, so
 * that a client learns of its mistake. Query strings are text by nature: their numbers and booleans are read.
 */
import type { FastifySchemaCompiler } from "fastify";
import type { TSchema } from "typebox";
import { Compile } from "typebox/compile";
import { Refusal } from "../actors/codes.ts";

/** The part of JSON Schema that is walked here. */
interface Shape {
  type?: string;
  properties?: Record<string, Shape>;
  items?: Shape;
  additionalProperties?: boolean | Shape;
  patternProperties?: Record<string, Shape>;
}

/** One complaint of the validator. */
interface Complaint {
  readonly keyword: string;
  readonly instancePath: string;
  readonly message: string;
  readonly params: object;
}

/** Closes every object of a schema that does not say itself what else it may hold: unknown properties are refused. */
export function closeObjects(schema: unknown): void {
  if (typeof schema !== "object" || schema === null) return;
  const shape = schema as Shape;
  if (shape.type === "object" && shape.patternProperties === undefined) shape.additionalProperties ??= false;
  for (const property of Object.values(shape.properties ?? {})) closeObjects(property);
  closeObjects(shape.items);
}

/** Reads numbers and booleans of a query string; what does not look like one stays text, and is refused later. */
function readQuery(query: Record<string, unknown>, shape: Shape): Record<string, unknown> {
  const read: Record<string, unknown> = { ...query };
  for (const [name, property] of Object.entries(shape.properties ?? {})) {
    const text = read[name];
    if (typeof text !== "string") continue;
    if (property.type === "integer" || property.type === "number") {
      if (/^-?\d{1,16}(\.\d{1,16})?$/.test(text)) read[name] = Number(text);
    } else if (property.type === "boolean" && (text === "true" || text === "false")) {
      read[name] = text === "true";
    }
  }
  return read;
}

/** A sentence about the first complaint that names a field: `body.name must be a string.` */
function complaintText(part: string, complaints: readonly Complaint[]): string {
  const extra = complaints.find((complaint) => complaint.keyword === "additionalProperties");
  const first = extra ?? complaints[0];
  if (first === undefined) return `The ${part} does not fit its schema.`;
  const place = `${part}${first.instancePath.replaceAll("/", ".")}`;
  if (extra !== undefined) {
    const { additionalProperties } = extra.params as { additionalProperties?: readonly string[] };
    const names = (additionalProperties ?? []).slice(0, 8).map((name) => `\`${name.slice(0, 64)}\``);
    return `${place} has unknown properties: ${names.join(", ")}.`;
  }
  return `${place} ${reasonOf(first)}.`;
}

/** What a complaint asks for, with the words or the type that would do; the validator's own text names neither well. */
function reasonOf({ keyword, message, params }: Complaint): string {
  const { allowedValues, type } = params as { allowedValues?: readonly unknown[]; type?: string | readonly string[] };
  if (keyword === "enum" && allowedValues !== undefined) {
    return `must be one of ${allowedValues.map((value) => `\`${value}\``).join(", ")}`;
  }
  if (keyword === "type" && typeof type === "string") return `must be ${/^[aeiou]/.test(type) ? "an" : "a"} ${type}`;
  return message;
}

/** The validator compiler of the app (fastify's `setValidatorCompiler`). Refuses with `bad-request`. */
export const compileValidator: FastifySchemaCompiler<TSchema> = ({ schema, httpPart }) => {
  const validator = Compile(schema);
  const part = httpPart === "querystring" ? "query" : (httpPart ?? "body");
  return (data: unknown) => {
    const value = httpPart === "querystring" ? readQuery(data as Record<string, unknown>, schema as Shape) : data;
    if (validator.Check(value)) return { value };
    return { error: new Refusal("bad-request", complaintText(part, validator.Errors(value) as Complaint[])) };
  };
};
