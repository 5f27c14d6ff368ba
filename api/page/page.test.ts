/** The page in real Chromium against the real server: what people do with it, and what they must never see. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { must, type Session } from "../../ops/drills/harness.ts";
import { StompClient } from "../../ops/drills/stomp.ts";
import {
  allStored,
  assertAccessible,
  assertQuiet,
  emailOf,
  enter,
  live,
  makeRoom,
  type Person,
  REPLAYED,
  Stage,
  say,
  sees,
  texts,
} from "./page.fixture.ts";

let stage: Stage;

before(async () => {
  stage = await Stage.open();
});

after(async () => {
  await stage?.close();
});

const PHONE = { viewport: { width: 375, height: 667 }, hasTouch: true, isMobile: true };

/** Ends the people of a test, which must have had nothing to complain about. */
async function leave(...people: readonly Person[]): Promise<void> {
  assertQuiet(...people);
  for (const { context } of people) await context.close();
}

test("Two people talk: messages, typing, who is here, marks, edit, reaction, deletion.", async () => {
  const ann = await stage.member("Ann Talks");
  const ben = await stage.member("Ben Talks");
  await makeRoom(ann, "Talk");
  await enter(ben, "Talk");
  await say(ann, "Hello Ben");
  await sees(ben, "Hello Ben");
  await allStored(ann);
  await ben.page.locator("#message").pressSequentially("Hel");
  await ann.page.getByText("Ben Talks is typing…").waitFor();
  await say(ben, "Hello Ann");
  await sees(ann, "Hello Ann");
  await ann.page.getByText("Ben Talks is typing…").waitFor({ state: "detached" });
  await ann.page.getByRole("button", { name: "People" }).click();
  await ann.page.getByRole("complementary").getByText("Ben Talks").waitFor();
  await ann.page.locator(".mark.seen").first().waitFor();

  const line = ann.page.locator(".line.mine").filter({ hasText: "Hello Ben" });
  await line.hover();
  await line.getByRole("button", { name: /Actions/ }).click();
  await line.getByRole("button", { name: "Edit" }).click();
  await ann.page.getByLabel("Change the message").fill("Hello Ben!");
  await ann.page.getByLabel("Change the message").press("Enter");
  await sees(ben, "Hello Ben!");
  const theirs = ben.page.locator(".line").filter({ hasText: "Hello Ben!" });
  await theirs.hover();
  await theirs.getByRole("button", { name: /Actions/ }).click();
  await theirs.getByRole("button", { name: "🎉" }).click();
  await ann.page.locator(".reactions").getByText("🎉 1").waitFor();
  await line.hover();
  await line.getByRole("button", { name: /Actions/ }).click();
  await line.getByRole("button", { name: "Delete" }).click();
  await ann.page.getByRole("dialog").getByRole("button", { name: "Delete" }).click();
  await sees(ben, "Message deleted");
  await leave(ann, ben);
});

test("One goes offline and comes back: everything arrives, in order, nothing lost, nothing doubled.", async () => {
  const ann = await stage.member("Ann Away");
  const ben = await stage.member("Ben Away");
  await makeRoom(ann, "Away");
  await enter(ben, "Away");
  await say(ann, "before");
  await sees(ben, "before");
  ben.hop.cut();
  await ben.page.getByText(/Offline — reconnecting in \d+ s/).waitFor();
  for (let i = 1; i <= 12; i++) await say(ann, `from Ann ${i}`);
  await allStored(ann);
  for (let i = 1; i <= 3; i++) await say(ben, `from Ben ${i}`);
  await ben.page.locator(".line.waiting .mark.pending").nth(2).waitFor();
  ben.hop.heal();
  await ben.page.getByText("caught up on 12 messages").first().waitFor();
  await allStored(ben);
  await sees(ann, "from Ben 3");
  const expected = ["before"];
  for (let i = 1; i <= 12; i++) expected.push(`from Ann ${i}`);
  for (let i = 1; i <= 3; i++) expected.push(`from Ben ${i}`);
  assert.deepEqual(await texts(ben), expected);
  assert.deepEqual(await texts(ann), expected);
  await leave(ann, ben);
});

test("A connection that dies again and again while both write loses nothing and doubles nothing.", async () => {
  const ann = await stage.member("Ann Flaky");
  const ben = await stage.member("Ben Flaky");
  await makeRoom(ann, "Flaky");
  await enter(ben, "Flaky");
  const expected: string[] = [];
  for (let round = 0; round < 5; round++) {
    for (let i = 0; i < 6; i++) {
      await say(ann, `a${round}.${i}`);
      await say(ben, `b${round}.${i}`);
      expected.push(`a${round}.${i}`, `b${round}.${i}`);
      // In the middle of sending: some have their receipt, some are on their way, some were never sent.
      if (i === 2) ben.hop.cut();
    }
    ben.hop.heal();
    await live(ben);
  }
  await allStored(ben);
  await allStored(ann);
  await sees(ann, "b4.5");
  const seen = await texts(ben);
  assert.deepEqual([...seen].sort(), [...expected].sort());
  assert.deepEqual(await texts(ann), seen, "both see one order");
  for (const who of ["a", "b"]) {
    const own = seen.filter((text) => text.startsWith(who));
    assert.deepEqual(
      own,
      expected.filter((text) => text.startsWith(who)),
      "each one's messages keep their order",
    );
  }
  await leave(ann, ben);
});

test("Someone too far behind is told so, and reads the newest part of the history again.", async () => {
  const ann = await stage.member("Ann Far");
  const ben = await stage.member("Ben Far");
  await makeRoom(ann, "Far");
  await enter(ben, "Far");
  await say(ann, "before");
  await sees(ben, "before");
  ben.hop.cut();
  await ben.page.locator(".status.off").waitFor();
  await fill(ann, REPLAYED + 20);
  await say(ben, "mine");
  ben.hop.heal();
  await ben.page.getByText("Some messages could not be replayed").waitFor();
  await allStored(ben);
  await sees(ben, `line ${REPLAYED + 20}`);
  await sees(ben, "mine");
  const seen = (await texts(ben)).filter((text) => text.startsWith("line "));
  const last = seen.map((_, at) => `line ${REPLAYED + 20 - seen.length + 1 + at}`);
  assert.deepEqual(seen, last, "a part without a gap, up to the newest");
  assert.equal((await texts(ben)).at(-1), "mine");
  await leave(ann, ben);
});

test("The browser's own offline switch is believed at once, and back online the page is live again.", async () => {
  const ann = await stage.member("Ann Switch");
  await makeRoom(ann, "Switch");
  await ann.context.setOffline(true);
  await ann.page.locator(".status.off").waitFor();
  await say(ann, "written offline");
  await ann.context.setOffline(false);
  await live(ann);
  await allStored(ann);
  assert.deepEqual(await texts(ann), ["written offline"]);
  await leave(ann);
});

test("A reload keeps one signed in and in the room; logging out does not.", async () => {
  const ann = await stage.member("Ann Reload");
  await makeRoom(ann, "Reload");
  await say(ann, "still here");
  await allStored(ann);
  await ann.page.reload();
  await live(ann);
  await sees(ann, "still here");
  await ann.page.getByRole("button", { name: "Log out" }).click();
  await ann.page.getByRole("heading", { name: "Log in" }).waitFor();
  await ann.page.reload();
  await ann.page.getByRole("heading", { name: "Log in" }).waitFor();
  await ann.page.getByLabel("Email").fill(emailOf(ann.name));
  await ann.page.getByLabel("Password").fill("not the password");
  await ann.page.getByRole("button", { name: "Log in" }).click();
  await ann.page.getByText("The email or the password is wrong.").waitFor();
  // Chromium writes the 401 that was asked for into its console.
  const others = ann.complaints.filter((text) => !text.includes("401"));
  assert.deepEqual(others, []);
  await ann.context.close();
});

test("What looks like HTML is shown as it was written, in messages and in names.", async () => {
  const ann = await stage.member('<img src=x onerror="document.title=1">');
  const ben = await stage.member("Ben Reads");
  await makeRoom(ann, "<b>Bold</b>");
  await enter(ben, "<b>Bold</b>");
  const text = '<script>document.title="gone"</script><img src=x onerror=alert(1)>&amp; **bold** javascript:alert(1)';
  await say(ann, text);
  await sees(ben, text);
  await ben.page.getByRole("heading", { name: ann.name, level: 3 }).waitFor();
  assert.equal(await ben.page.locator("main img, main script, main b").count(), 0);
  assert.match(await ben.page.title(), /Confab$/);
  await leave(ann, ben);
});

test("Scrolling back brings older messages in order, bounded in the document, and the newest come back.", async () => {
  const ann = await stage.member("Ann Scrolls");
  await makeRoom(ann, "Long");
  await fill(ann, 700);
  await ann.page.reload();
  await sees(ann, "line 700");
  const log = ann.page.getByRole("log");
  for (let turn = 0; turn < 60 && (await ann.page.getByText("line 1", { exact: true }).count()) === 0; turn++) {
    const first = (await texts(ann))[0];
    await log.evaluate((box) => box.scrollTo(0, 0));
    await ann.page.waitForFunction((text) => document.querySelector(".line .text")?.textContent !== text, first);
    assert.ok((await ann.page.locator(".line").count()) <= 500);
  }
  const held = (await texts(ann)).map((text) => Number(text.replace("line ", "")));
  assert.equal(held[0], 1);
  for (let i = 1; i < held.length; i++) assert.equal(held[i], (held[i - 1] as number) + 1);
  await ann.page.getByRole("button", { name: /Newest/ }).click();
  await sees(ann, "line 700");
  await leave(ann);
});

/** Messages of `fill` that are on their way at once; fewer than a connection may have unstored. */
const FILLED_AT_ONCE = 100;

/** Writes many messages by a connection of the test's own, in order; all are stored when it resolves. */
async function fill({ page, name }: Person, count: number): Promise<void> {
  const room = new URL(page.url()).hash.replace("#room/", "");
  const body = { email: emailOf(name), password: `a long password of ${name}` };
  const { accessToken } = await must<Session>(stage.server, "POST /api/auth/login", { body });
  const client = await StompClient.connected(stage.server.wsUrl, accessToken);
  for (let i = 1; i <= count; i++) {
    const last = i % FILLED_AT_ONCE === 0 || i === count;
    if (last) await client.post(room, `line ${i}`);
    else client.send("SEND", { destination: `/topic/room.${room}` }, `line ${i}`);
  }
  await client.disconnect();
}

test("A private chat found by name reaches the other at once, unread, with a divider when it is opened.", async () => {
  const ann = await stage.member("Ann Private");
  const ben = await stage.member("Ben Private");
  await ann.page.getByRole("button", { name: "New chat" }).click();
  await ann.page.getByLabel("Find by name").fill("Ben Priv");
  await ann.page.getByRole("button", { name: "Chat Ben Private" }).click();
  await say(ann, "psst");
  const link = ben.page.getByRole("link", { name: /Ann Private/ });
  await link.getByText("1 unread message").waitFor();
  assert.match(await ben.page.title(), /^\(1\)/);
  await link.click();
  await sees(ben, "psst");
  await ben.page.getByText("New messages").waitFor();
  await ben.page.waitForFunction(() => document.title === "Confab");
  await leave(ann, ben);
});

test("A private room is seen by members alone, and a removed member is shown out.", async () => {
  const ann = await stage.member("Ann Admin");
  const ben = await stage.member("Ben Guest");
  await makeRoom(ann, "Secret", "private");
  await ann.page.getByRole("button", { name: "Members" }).click();
  await ann.page.getByLabel("Find by name").fill("Ben Guest");
  await ann.page.getByRole("button", { name: "Add Ben Guest" }).click();
  await ann.page.getByRole("button", { name: "Remove Ben Guest" }).waitFor();
  await ben.page.getByRole("link", { name: /Secret/ }).click();
  await ben.page.locator("#message").waitFor();
  await ann.page.getByRole("button", { name: "Remove Ben Guest" }).click();
  await ben.page.getByText("The user is no longer a member of the room.").waitFor();
  await ben.page.getByText("No room is open").waitFor();
  assert.equal(await ben.page.getByRole("link", { name: /Secret/ }).count(), 0);
  await makeRoom(ben, "Own");
  await say(ben, "still able to talk");
  await allStored(ben);
  await leave(ann, ben);
});

test("All can be done by keyboard alone.", async () => {
  const ann = await stage.person("Ann Keys");
  const { keyboard } = ann.page;
  const tabTo = async (name: string) => {
    for (let i = 0; i < 60; i++) {
      const text = await ann.page.evaluate(() => {
        const at = document.activeElement;
        if (at === document.body) return "";
        return `${at?.getAttribute("aria-label") ?? ""} ${at?.textContent ?? ""} #${at?.id ?? ""}`;
      });
      if (text.includes(name)) return;
      await keyboard.press("Tab");
    }
    assert.fail(`Tab never reached ${name}`);
  };
  await ann.page.getByLabel("Email").waitFor();
  await tabTo("Make an account");
  await keyboard.press("Enter");
  await ann.page.getByLabel("Name").waitFor();
  for (const text of [ann.name, emailOf(ann.name), `a long password of ${ann.name}`]) {
    await keyboard.type(text);
    await keyboard.press("Tab");
  }
  await keyboard.press("Enter");
  await live(ann);
  await tabTo("New room");
  await keyboard.press("Enter");
  await ann.page.locator("dialog input:focus").first().waitFor();
  await keyboard.press("Escape");
  await ann.page.locator("dialog").waitFor({ state: "detached" });
  assert.equal(await ann.page.evaluate(() => document.activeElement?.textContent), "New room", "focus comes back");
  await keyboard.press("Enter");
  await ann.page.locator("dialog input:focus").first().waitFor();
  await keyboard.type("Keys");
  await keyboard.press("Enter");
  await ann.page.getByText("The conversation begins here.").waitFor();
  await tabTo("#message");
  await keyboard.type("one");
  await keyboard.press("Shift+Enter");
  await keyboard.type("two");
  await keyboard.press("Enter");
  await sees(ann, "one\ntwo");
  await leave(ann);
});

test("On a phone the list and the room are two screens, and nothing scrolls sideways.", async () => {
  for (const width of [320, 375]) {
    const ann = await stage.member(`Ann Phone ${width}`, { ...PHONE, viewport: { width, height: 667 } });
    await makeRoom(ann, `Phone ${width}`);
    await say(ann, "https://example.org/".padEnd(200, "x"));
    await allStored(ann);
    assert.ok(!(await ann.page.getByRole("navigation").isVisible()));
    const wide = () => ann.page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
    assert.ok(!(await wide()));
    await ann.page.getByRole("link", { name: "Back to the rooms" }).click();
    await ann.page.getByRole("link", { name: new RegExp(`Phone ${width}`) }).waitFor();
    assert.ok(!(await wide()));
    await ann.page.goBack();
    await ann.page.locator("#message").waitFor();
    await leave(ann);
  }
});

test("axe-core finds nothing on sign-in, list and room, light and dark, wide and narrow.", async () => {
  for (const colorScheme of ["light", "dark"] as const) {
    for (const shape of [{ viewport: { width: 1280, height: 800 } }, PHONE]) {
      const name = `Axe ${colorScheme} ${shape.viewport.width}`;
      const ann = await stage.person(name, { ...shape, colorScheme });
      await ann.page.getByLabel("Email").waitFor();
      await assertAccessible(ann, `${name}: sign-in`);
      await ann.context.close();
      const ben = await stage.member(`${name} in`, { ...shape, colorScheme });
      await assertAccessible(ben, `${name}: list`);
      await makeRoom(ben, name);
      await say(ben, "Something to read");
      await allStored(ben);
      await assertAccessible(ben, `${name}: room`);
      await ben.page.getByRole("button", { name: "People" }).click();
      await assertAccessible(ben, `${name}: people`);
      await ben.context.close();
    }
  }
});

test("A server that is killed and started again finds the page where it was.", async () => {
  const ann = await stage.member("Ann Restart");
  await makeRoom(ann, "Restart");
  await say(ann, "before the end");
  await allStored(ann);
  await stage.server.kill();
  await ann.page.locator(".status.off").waitFor();
  await say(ann, "while it was away");
  await stage.restart();
  await live(ann);
  await allStored(ann);
  assert.deepEqual(await texts(ann), ["before the end", "while it was away"]);
  await leave(ann);
});
