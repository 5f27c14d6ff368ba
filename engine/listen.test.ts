import uWS from "uWebSockets.js";
import assert from "node:assert/strict";
import { test } from "node:test";
import { listen } from "./listen.ts";

test("A host that names no address, or one of another machine, is refused by a sentence that says so.", async () => {
  await assert.rejects(listen(uWS.App(), "confab.invalid", 0), {
    message: "Confab cannot listen on confab.invalid:0: the name has no address.",
  });
  await assert.rejects(listen(uWS.App(), "192.0.2.1", 0), {
    message: "Confab cannot listen on 192.0.2.1:0: the address is none of this machine's.",
  });
});
