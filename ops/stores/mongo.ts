/** MongoDB from its image, for tests and drills: a replica set of one, as `w: majority` asks for. */
import { MongoClient } from "mongodb";
import { type ContainerRecipe, IMAGES, startContainer } from "./containers.ts";
import type { StorePlace, StoreServer } from "./process.ts";

const SET = "confab";
/** How long one question may take, ms. */
const ASK_MS = 2_000;

/** Starts an empty MongoDB, which takes writes when the promise resolves. Rejects with `StoreMissing`. */
export function startMongo(): Promise<StoreServer> {
  return startContainer(CONTAINED);
}

const CONTAINED: ContainerRecipe = {
  name: "mongo",
  image: IMAGES.mongodb,
  command: ({ port }) => ["mongod", "--replSet", SET, "--bind_ip_all", "--port", String(port)],
  answers: isPrimary,
  url: ({ port }) => `mongodb://127.0.0.1:${port}/`,
};

/** Rejects until it is the primary of its set, which is made at the first answer. */
async function isPrimary({ port }: StorePlace): Promise<void> {
  // The port is the same inside, so its only member is found under one name from both sides.
  const host = `127.0.0.1:${port}`;
  const client = new MongoClient(`mongodb://${host}/?directConnection=true`, { serverSelectionTimeoutMS: ASK_MS });
  try {
    const admin = client.db("admin");
    const hello = await admin.command({ hello: 1 });
    if (hello["isWritablePrimary"] === true) return;
    if (hello["setName"] === undefined)
      await admin.command({ replSetInitiate: { _id: SET, members: [{ _id: 0, host }] } });
    throw new Error("It is not primary yet.");
  } finally {
    await client.close();
  }
}
