/** Entries as the headers of a MESSAGE tell them. */
import { createHash } from "node:crypto";
import type { Item, Place } from "./checker.ts";

type Headers = Readonly<Record<string, string>>;

/** Digest of a body: what is compared. */
export function digest(body: Uint8Array | string): string {
  return createHash("md5").update(body).digest("base64");
}

/** The place that headers tell, `head-` before their names where it is that of the head. */
export const placeOf = (headers: Headers, prefix = ""): Place => ({
  offset: Number(headers[`${prefix}offset`]),
  term: Number(headers[`${prefix}term`]),
});

/** The entry of a MESSAGE. */
export function itemOf(headers: Headers, body: Uint8Array): Item {
  return {
    ...placeOf(headers),
    id: headers["message-id"] ?? "",
    event: headers.event ?? "",
    sender: headers.sender ?? "",
    key: headers["client-message-id"] ?? "",
    body: digest(body),
    count: Number(headers.count),
    atMs: Number(headers.timestamp),
  };
}
