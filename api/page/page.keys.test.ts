/** The page by keyboard and on a phone, in real Chromium: where the focus is, what Escape and Back close, landmarks. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import {
  allStored,
  assertAccessible,
  assertQuiet,
  emailOf,
  live,
  makeRoom,
  type Person,
  Stage,
  say,
  sees,
} from "./page.fixture.ts";

let stage: Stage;

before(async () => {
  stage = await Stage.open();
});

after(async () => {
  await stage?.close();
});

const PHONE = { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true };
const ACTIONS = /^⋯Actions on the message/;

/** Waits until the focus is on an element with this text, or this label. */
async function focusIsOn({ page }: Person, wanted: RegExp): Promise<void> {
  await page.waitForFunction(
    ([source, flags]) => {
      const at = document.activeElement;
      if (at === document.body) return false;
      return new RegExp(source, flags).test(at?.getAttribute("aria-label") ?? at?.textContent ?? "");
    },
    [wanted.source, wanted.flags] as const,
  );
}

/** Chooses an action of the only message, by keyboard. */
async function choose({ page }: Person, action: string): Promise<void> {
  await page.getByRole("button", { name: /Actions/ }).press("Enter");
  await page.getByRole("group", { name: "Actions" }).getByRole("button", { name: action }).press("Enter");
}

test("After an edit, kept or left, and after a deletion called off, the focus is on the button of the actions.", async () => {
  const ann = await stage.member("Ann Edits");
  await makeRoom(ann, "Edits");
  await say(ann, "one");
  await allStored(ann);
  const field = ann.page.getByLabel("Change the message");
  await choose(ann, "Edit");
  await field.press("Escape");
  await focusIsOn(ann, ACTIONS);
  await choose(ann, "Edit");
  await field.fill("two");
  await field.press("Enter");
  await focusIsOn(ann, ACTIONS);
  await sees(ann, "two");
  await focusIsOn(ann, ACTIONS);
  await choose(ann, "Delete");
  await focusIsOn(ann, /^Cancel$/);
  await ann.page.keyboard.press("Enter");
  await ann.page.getByRole("dialog").waitFor({ state: "detached" });
  await focusIsOn(ann, ACTIONS);
  await sees(ann, "two");
  assertQuiet(ann);
  await ann.context.close();
});

test("Escape closes the people, and the focus is on their button again; a text being written keeps it.", async () => {
  for (const shape of [{ viewport: { width: 1280, height: 800 } }, PHONE]) {
    const ann = await stage.member(`Ann Escapes ${shape.viewport.width}`, shape);
    await makeRoom(ann, ann.name);
    const panel = ann.page.getByRole("complementary");
    await ann.page.getByRole("button", { name: "People" }).press("Enter");
    await panel.waitFor();
    await focusIsOn(ann, /^Hide who is here$/);
    await ann.page.keyboard.press("Escape");
    await panel.waitFor({ state: "detached" });
    await focusIsOn(ann, /^People$/);
    if (shape !== PHONE) {
      await say(ann, "one");
      await allStored(ann);
      await ann.page.getByRole("button", { name: "People" }).press("Enter");
      await choose(ann, "Edit");
      await ann.page.getByLabel("Change the message").press("Escape");
      await focusIsOn(ann, ACTIONS);
      assert.ok(await panel.isVisible(), "Escape leaves the edit alone first");
      await ann.page.locator("#message").press("Escape");
      await panel.waitFor({ state: "detached" });
      assert.equal(await ann.page.evaluate(() => document.activeElement?.id), "message");
    }
    assertQuiet(ann);
    await ann.context.close();
  }
});

test("On a phone Back closes the people and stays in the room, and only the next Back leaves it.", async () => {
  const ann = await stage.member("Ann Back", PHONE);
  await makeRoom(ann, "Back");
  const panel = ann.page.getByRole("complementary");
  const open = () => ann.page.getByRole("button", { name: "People" }).click();
  await open();
  await panel.waitFor();
  await ann.page.goBack();
  await panel.waitFor({ state: "detached" });
  await ann.page.locator("#message").waitFor();
  await focusIsOn(ann, /^People$/);
  await open();
  await panel.getByRole("button", { name: "Hide who is here" }).click();
  await panel.waitFor({ state: "detached" });
  await ann.page.waitForFunction(() => history.state === null);
  await ann.page.goBack();
  await ann.page.getByRole("link", { name: /Back/ }).waitFor();
  assert.ok(await ann.page.getByRole("navigation").isVisible());
  assertQuiet(ann);
  await ann.context.close();
});

test("Every view of a phone has one main part and nothing outside of landmarks; the skip link leads into it.", async () => {
  const ann = await stage.member("Ann Landmarks", PHONE);
  const whole = async (view: string) => {
    assert.equal(await ann.page.getByRole("main").count(), 1, view);
    await assertAccessible(ann, view);
  };
  await ann.page.getByRole("button", { name: "Join general" }).waitFor();
  await whole("no rooms");
  await makeRoom(ann, "Landmarks");
  await whole("room");
  await ann.page.getByRole("link", { name: "Skip to the message field" }).press("Enter");
  assert.equal(await ann.page.evaluate(() => document.activeElement?.id), "message");
  await ann.page.getByRole("button", { name: "People" }).click();
  await ann.page.getByRole("complementary").waitFor();
  await whole("people");
  await ann.page.goBack();
  await ann.page.getByRole("link", { name: "Back to the rooms" }).click();
  await ann.page.getByRole("link", { name: /Landmarks/ }).waitFor();
  await whole("list");
  await ann.page.getByRole("link", { name: "Skip to the rooms" }).press("Enter");
  await focusIsOn(ann, /Landmarks/);
  assertQuiet(ann);
  await ann.context.close();
});

test("Who comes back with a session that the server ended is told so, and logs in again.", async () => {
  const ann = await stage.member("Ann Ended");
  await ann.page.evaluate(() => localStorage.setItem("confab.refresh", "ended"));
  await ann.page.reload();
  await ann.page.getByRole("alert").getByText("Your session has ended. Please log in again.").waitFor();
  await ann.page.getByLabel("Email").fill(emailOf(ann.name));
  await ann.page.getByLabel("Password").fill(`a long password of ${ann.name}`);
  await ann.page.getByRole("button", { name: "Log in" }).click();
  await live(ann);
  assert.equal(await ann.page.getByText("Your session has ended").count(), 0);
  await ann.context.close();
});
