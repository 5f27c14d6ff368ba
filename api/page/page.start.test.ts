/** The page as a new user meets it, in real Chromium against the real server; and a message that nobody takes. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { allStored, assertQuiet, emailOf, LONGEST, live, makeRoom, Stage, say, signUp, texts } from "./page.fixture.ts";

let stage: Stage;

before(async () => {
  stage = await Stage.open();
});

after(async () => {
  await stage?.close();
});

const PHONE = { viewport: { width: 375, height: 667 }, hasTouch: true, isMobile: true };

test("A new user is led to the room that is always there, and sees which node serves the page.", async () => {
  const ann = await stage.member("Ann New", PHONE);
  const node = ann.page.locator(".status .node", { hasText: /^node [0-9a-f]{8}$/ });
  await node.waitFor();
  await ann.page.getByRole("button", { name: "Join general" }).click();
  await ann.page.getByRole("heading", { name: "general", level: 2 }).waitFor();
  await node.waitFor();
  await say(ann, "Here I am");
  await allStored(ann);
  assertQuiet(ann);
});

test("A message that the server does not take is marked as failed, and the page goes on.", async () => {
  const ann = await stage.member("Ann Long");
  await makeRoom(ann, "Long");
  await say(ann, "before");
  await allStored(ann);
  await say(ann, "x".repeat(LONGEST + 1));
  await ann.page.getByText("The body is larger than the limit.").waitFor();
  await live(ann);
  await say(ann, "after");
  await ann.page.locator(".line .mark.stored, .line .mark.seen").nth(1).waitFor();
  await ann.page.getByRole("button", { name: "Discard" }).click();
  await allStored(ann);
  assert.deepEqual(await texts(ann), ["before", "after"]);
  assertQuiet(ann);
});

/** The timers and frames of a page, which a test can hold back as a machine without time to spare does. */
interface Slow {
  held: (() => void)[] | undefined;
  frameless: boolean;
}

/** Runs in the page before its own code. */
function slow(): void {
  const page = globalThis as typeof globalThis & { slow: Slow };
  page.slow = { held: undefined, frameless: false };
  const { requestAnimationFrame: frame, setTimeout: timer } = globalThis;
  page.requestAnimationFrame = (draw) => {
    if (page.slow.frameless) return 0;
    return page.slow.held ? page.slow.held.push(() => draw(performance.now())) : frame(draw);
  };
  const later = (act: () => void, ms?: number) => (page.slow.held ? page.slow.held.push(act) : timer(act, ms));
  page.setTimeout = later as typeof setTimeout;
}

test("The focus goes to a form's first field with the form, not when one types in another field already.", async () => {
  const ann = await stage.person("Ann Slow");
  const { page, name } = ann;
  await page.addInitScript(slow);
  await page.reload();
  await page.getByRole("button", { name: "Make an account" }).waitFor();
  await page.evaluate(() => {
    (globalThis as unknown as { slow: Slow }).slow.held = [];
  });
  await page.getByRole("button", { name: "Make an account" }).click();
  await page.locator("input[name=name]:focus").fill(name);
  await page.getByLabel("Email").fill(emailOf(name));
  await page.getByLabel("Password").fill("a long password, typed in time");
  const focused = await page.evaluate(() => {
    const { slow: held } = globalThis as unknown as { slow: Slow };
    for (const act of held.held?.splice(0) ?? []) act();
    held.held = undefined;
    return document.activeElement?.getAttribute("name");
  });
  assert.equal(focused, "password");
  await page.getByRole("button", { name: "Sign up" }).click();
  await live(ann);
  assertQuiet(ann);
});

test("A page that gets no frames, as a covered window's, shows what happens all the same.", async () => {
  const ann = await stage.person("Ann Covered");
  await ann.page.addInitScript(slow);
  await ann.page.reload();
  await ann.page.getByRole("button", { name: "Make an account" }).waitFor();
  await ann.page.evaluate(() => {
    (globalThis as unknown as { slow: Slow }).slow.frameless = true;
  });
  await signUp(ann);
  await makeRoom(ann, "Covered");
  await say(ann, "Is anybody there?");
  await ann.page.locator(".line .mark.stored").waitFor();
  assertQuiet(ann);
});
