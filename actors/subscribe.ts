/** Opening and ending subscriptions: the owner grants at a position, the audience attaches from there. */
import type { Audience } from "./audience.ts";
import { type CodeWord, Refusal } from "./codes.ts";
import type { Connection } from "./connection.ts";
import { ORIGIN } from "./entry.ts";
import type { Claims } from "./identity.ts";
import type { Subscription, SubscriptionKind } from "./link.ts";
import { type From, resume } from "./resume.ts";

/** A SUBSCRIBE. */
export interface SubscribeRequest {
  readonly id: string;
  readonly kind: SubscriptionKind;
  readonly subject: string;
  readonly destination: string;
  readonly ack: Subscription["ack"];
  readonly receipt: string | undefined;
}

/** Opens a subscription. Throws or later answers the refusal. */
export function openSubscription(connection: Connection, request: SubscribeRequest, from: From): void {
  const { id, kind, subject, destination, ack, receipt } = request;
  const subscription: Subscription = { id, kind, subject, destination, ack, state: "joining" };
  if (kind === "queue" && subject !== connection.user)
    throw new Refusal("forbidden", "Only its own user may read a queue.");
  // Not `push`: an array that grows has room for many, and most connections have few.
  connection.subscriptions = [...connection.subscriptions, subscription];
  if (kind === "queue" || kind === "errors") {
    subscription.state = "live";
    if (kind === "queue") connection.link.attach(subscription);
    return connection.receipt(receipt);
  }
  const { node } = connection;
  const audience = node.audiences.of(subject);
  if (kind === "log") audience.logs++;
  else audience.signals++;
  const wanted = from.kind === "after" ? from.position : ORIGIN;
  try {
    const at = node.audiences.grantNow(audience, connection.user, wanted);
    if (at !== undefined) return granted({ connection, subscription, audience, receipt, from, at });
  } catch (error) {
    endSubscription(connection, subscription);
    throw error;
  }
  // Its outcome is owed: a DISCONNECT waits for it.
  connection.pending++;
  node.audiences
    .grant(audience, connection.user, wanted)
    .then(
      (at) => {
        if (subscription.state !== "ended") granted({ connection, subscription, audience, receipt, from, at });
        else connection.receipt(receipt);
      },
      (error: unknown) => {
        if (subscription.state === "ended") return connection.receipt(receipt);
        endSubscription(connection, subscription);
        const refusal = error instanceof Refusal ? error : new Refusal("store-unavailable", undefined, 1_000);
        connection.refuse(refusal, { receipt });
      },
    )
    .finally(() => connection.settle());
}

interface Granted {
  readonly connection: Connection;
  readonly subscription: Subscription;
  readonly audience: Audience;
  readonly receipt: string | undefined;
  readonly from: From;
  /** The offset at which the owner granted it. */
  readonly at: number;
}

function granted({ connection, subscription, audience, receipt, from, at }: Granted): void {
  const { node, link } = connection;
  if (audience.removedAfter(connection.user, at)) {
    // Removed between the owner's answer and now: refused as if it were asked now.
    endSubscription(connection, subscription);
    return connection.refuse(new Refusal("room-not-found"), { receipt });
  }
  const head = audience.position ?? ORIGIN;
  if (receipt !== undefined) {
    node.counters.receipts++;
    link.receipt(receipt, { head });
  }
  if (subscription.kind === "signals") {
    subscription.state = "live";
    node.audiences.crowds.listening(subscription.subject);
    return link.attach(subscription);
  }
  const claims = connection.claims as Claims;
  if (from.kind === "now") {
    subscription.state = "live";
    link.attach(subscription);
    return node.audiences.arrived(subscription.subject, claims);
  }
  resume({
    host: node,
    audience,
    link,
    subscription,
    from,
    live: () => {
      // A removal that came while the replay was under way holds (rule 11).
      if (audience.removedAfter(claims.sub, at)) return endSubscription(connection, subscription, "removed");
      node.audiences.arrived(subscription.subject, claims);
    },
    giveUp: () => connection.end("gap-unfilled"),
  });
}

/** Ends a subscription; with a code the client is told, as a last MESSAGE. */
export function endSubscription(connection: Connection, subscription: Subscription, code?: CodeWord): void {
  const { node, link } = connection;
  const wasLive = subscription.state === "live";
  const wasEnded = subscription.state === "ended";
  if (wasEnded) return;
  const at = connection.subscriptions.indexOf(subscription);
  if (at >= 0) connection.subscriptions.splice(at, 1);
  if (code) link.ended(subscription, code);
  if (wasLive) link.detach(subscription);
  subscription.state = "ended";
  if (subscription.kind !== "log" && subscription.kind !== "signals") return;
  const audience = node.audiences.of(subscription.subject);
  if (subscription.kind === "log") audience.logs--;
  else audience.signals--;
  if (wasLive && subscription.kind === "log") node.audiences.departed(subscription.subject, connection.user);
  if (audience.logs + audience.signals === 0) node.audiences.unheard(audience);
}
