import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { StoreFailure } from "../actors/codes.ts";
import { ending, sampleSession } from "../actors/directory.conformance.samples.ts";
import { directoryConformance } from "../actors/directory.conformance.ts";
import { openLmdbDirectory } from "./directory.lmdb.ts";

const base = await mkdtemp(join(tmpdir(), "confab-directory-"));
after(() => rm(base, { recursive: true, force: true }));
let opened = 0;

directoryConformance("LMDB", async (loginAuditEntries) =>
  openLmdbDirectory({ folder: join(base, `${opened++}`), loginAuditEntries }),
);

test("What the LMDB directory holds is there after it was closed and opened again.", async () => {
  const folder = join(base, "again");
  const first = openLmdbDirectory({ folder });
  const user = { id: "u1", email: "ann@example.org", name: "Ann", createdAt: 5 };
  assert.equal(await first.createUser(user, "hash"), true);
  await first.openSession(sampleSession("u1", "s1"));
  const revocation = await first.revoke("u1", "some-token", ending(100));
  await first.close();
  await assert.rejects(first.user("u1"), StoreFailure);
  await assert.rejects(first.rename("u1", "An"), StoreFailure);

  const second = openLmdbDirectory({ folder });
  assert.deepEqual(await second.credentialsByEmail("ann@example.org"), {
    user: { ...user, deletedAt: undefined },
    passwordHash: "hash",
  });
  assert.deepEqual(await second.revocationsAfter(0, 10), [revocation]);
  assert.deepEqual(await second.findUsers("a", 10), [{ id: "u1", name: "Ann" }]);
  const next = await second.revoke("u1", "s1", ending(100));
  assert.ok(next.id > revocation.id, "ids go on rising");
  await second.close();
});
