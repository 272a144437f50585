// What goes wrong between the page and its server, and what the page makes of it.
import { expect, Server, test as base, unique } from "./fixtures.ts";

// A server that a spec stops is its own: the worker's others go on undisturbed. Its bursts take their time, so that there
// is some to do something in the middle of one.
const test = base.extend<{ fragile: Server }>({
  fragile: async ({ page }, use) => {
    const server = new Server(["--burst-interval", "2s"]);
    await server.start();
    await use(server);
    // Or the page would complain of the server's end.
    await page.close();
    await server.remove();
  },
  demo: async ({ demo, page, fragile }, use) => {
    await page.goto(fragile.url);
    await demo.hydrated();
    await use(demo);
  },
});

test.describe("with a server that comes and goes", () => {
  test.use({ expected: /ERR_(CONNECTION_REFUSED|CONNECTION_RESET|INCOMPLETE_CHUNKED_ENCODING|EMPTY_RESPONSE)/ });

  test("a burst goes on where it was when the server comes back @js", async ({ demo, fragile, page }) => {
    const text = unique("interrupted");
    await demo.field.fill(text);
    await demo.send.click();
    const card = demo.card(text);
    await expect(card.locator(".card-status")).toHaveText("First arrival");
    await fragile.stop();
    await expect(card).toHaveAttribute("data-phase", "lost");
    await expect(card.locator(".card-status")).toHaveText(/(Lost|Server gone), again in \d+ s/);
    await expect(demo.live).toContainText(/again in \d+ s/);
    await expect(card.locator(".card-status")).toHaveText(/Server gone, again in \d+ s/);
    const retry = page.getByRole("banner").getByRole("button", { name: "Retry now", includeHidden: true });
    await expect(retry).toBeVisible();
    await fragile.start();
    // The page may come back by itself at this very moment.
    await retry.dispatchEvent("click");
    await expect(card.locator(".card-status")).toContainText(/resumed after event 1/);
    await expect(card.locator(".card-status")).toHaveText("Closed after 3 arrivals");
    await expect(demo.live).toHaveAttribute("data-phase", "open");
    await card.locator("summary").click();
    await expect(card.locator(".wire-frame")).toHaveCount(4);
    await expect(card.locator(".wire-note")).toContainText(["open", "connection lost", "open again, after event 1"]);
  });

  test("it comes back by itself, without anybody's help @js", async ({ demo, fragile }) => {
    await expect(demo.live).toHaveAttribute("data-phase", "open");
    await fragile.stop();
    await expect(demo.live).toHaveAttribute("data-phase", "lost");
    await fragile.start();
    await expect(demo.live).toHaveAttribute("data-phase", "open", { timeout: 20_000 });
    const text = unique("after the return");
    await fragile.submit(text);
    await expect(demo.card(text)).toHaveCount(1);
  });

  test("a message that could not be sent is kept @js", async ({ demo, fragile }) => {
    const text = unique("kept");
    await fragile.stop();
    await demo.field.fill(text);
    await demo.send.click();
    await expect(demo.field).toHaveAccessibleDescription(/can't be reached. Your text is kept/);
    await expect(demo.field).toHaveValue(text);
    await fragile.start();
    await demo.send.click();
    await expect(demo.field).toHaveValue("");
    await expect(demo.card(text)).toHaveAttribute("data-phase", "closed", { timeout: 30_000 });
  });

  test("its error is no error any more once the server is back @js", async ({ demo, fragile, page }) => {
    const text = unique("kept");
    await fragile.stop();
    await demo.field.fill(text);
    await demo.send.click();
    await expect(page.locator("#message-error")).toContainText("can't be reached");
    await fragile.start();
    await expect(page.locator("#message-error")).toBeHidden({ timeout: 20_000 });
    await expect(demo.field).toHaveValue(text);
    await expect(demo.field).toHaveAttribute("aria-invalid", "false");
  });

  test("a quiet page is live again after a restart @js", async ({ demo, fragile }) => {
    const text = unique("before the restart");
    await demo.submit(text);
    await expect(demo.card(text)).toHaveAttribute("data-phase", "closed", { timeout: 20_000 });
    await fragile.stop();
    await expect(demo.live).toHaveAttribute("data-phase", "lost");
    await fragile.start();
    await expect(demo.live).toContainText("Back again, resumed after event", { timeout: 20_000 });
    await expect(demo.live.locator(".with-script")).toHaveText("Live");
  });

  test("one success ends the waits of all streams @js", async ({ demo, fragile, page }) => {
    const clock = page.locator(".demo-stream").filter({ has: page.getByRole("heading", { name: "Clock" }) });
    await clock.getByRole("button").click();
    await expect(clock).toHaveAttribute("data-phase", "open");
    await fragile.stop();
    // Both wait for so long that they can't be back by themselves before the test has looked.
    const longWait = /again in ([6-9]|1\d) s/;
    await expect(demo.live).toContainText(longWait, { timeout: 30_000 });
    await expect(clock.locator(".demo-stream-status")).toContainText(longWait, { timeout: 30_000 });
    await fragile.start();
    await demo.submit(unique("somebody is back"));
    await expect(demo.live).toHaveAttribute("data-phase", "open", { timeout: 2_000 });
    await expect(clock).toHaveAttribute("data-phase", "open", { timeout: 2_000 });
  });

  test("messages published while the page was cut off appear when it is back @js", async ({ demo, fragile }) => {
    await expect(demo.live).toHaveAttribute("data-phase", "open");
    await fragile.stop();
    await expect(demo.live).toHaveAttribute("data-phase", "lost");
    await fragile.start();
    const text = unique("meanwhile");
    await fragile.submit(text);
    await expect(demo.card(text)).toHaveCount(1, { timeout: 20_000 });
  });
});

test("reloading in the middle of a burst loses nothing @js", async ({ demo, page }) => {
  const text = unique("reloaded");
  await demo.field.fill(text);
  await demo.send.click();
  const card = demo.card(text);
  await expect(card.locator(".card-status")).toHaveText("First arrival");
  const first = await card.locator(".bead-time").first().textContent();
  await page.reload();
  await demo.hydrated();
  await expect(card).toHaveCount(1);
  await expect(card.locator(".card-status")).toHaveText("Closed after 3 arrivals");
  await expect(card.locator('.bead[data-came="true"]')).toHaveCount(4);
  await expect(card.locator(".bead-time").first()).toHaveText(first ?? "");
  await card.locator("summary").click();
  await expect(card.locator(".wire-frame")).toHaveCount(4);
  const ids = await card.locator(".wire-frame").allTextContents();
  expect(ids.map((frame) => /:(\w+)\n/.exec(frame)?.[1])).toEqual(["1", "2", "3", "close"]);
});

test.describe("a refused stream", () => {
  test.use({ expected: /status of 404/ });

  test("shows the server's words @js", async ({ demo, page }) => {
    const text = unique("refused");
    await page.route(/\/stream\?message=/, (route) =>
      route.fulfill({
        status: 404,
        contentType: "application/problem+json",
        body: JSON.stringify({ status: 404, title: "Unknown message", detail: "No message has this id." }),
      }),
    );
    await demo.submit(text);
    const card = demo.card(text);
    await expect(card.locator(".card-status")).toHaveText("Refused: No message has this id.");
    await page.unroute(/\/stream\?message=/);
    await card.getByRole("button", { name: "Try again" }).click();
    await expect(card.locator(".card-status")).toHaveText("Closed after 3 arrivals");
  });
});

test("a message that no connection is left for is kept, with what to do @js", async ({ demo, context, fragile, page }) => {
  await expect(demo.live).toHaveAttribute("data-phase", "open");
  const tabs = [];
  for (let n = 0; n < 5; n += 1) {
    const tab = await context.newPage();
    await tab.goto(fragile.url);
    await expect(tab.locator(".live")).toHaveAttribute("data-phase", "open");
    tabs.push(tab);
  }
  const text = unique("too many tabs");
  await demo.field.fill(text);
  await demo.send.click();
  await expect(demo.send).toHaveText("Sending");
  await expect(demo.field).toHaveAccessibleDescription(/No answer within 10 seconds.*close some tabs/, { timeout: 20_000 });
  await expect(demo.field).toHaveValue(text);
  await expect(demo.send).toHaveText("Send");
  for (const tab of tabs) await tab.close();
  await demo.send.click();
  await expect(demo.field).toHaveValue("");
  await expect(page.locator("#message-error")).toBeHidden();
  await expect(demo.card(text)).toHaveAttribute("data-phase", "closed", { timeout: 20_000 });
});

test("a stream that is not answered says so @js", async ({ demo, page }) => {
  await page.route(/\/stream\?message=/, () => {});
  const text = unique("no answer");
  await demo.submit(text);
  await expect(demo.card(text).locator(".card-status")).toHaveText("No answer yet. Too many tabs?", { timeout: 20_000 });
});

test("a stream that is over already is closed, not lost @js", async ({ demo, page }) => {
  const text = unique("over");
  await page.route(/\/stream\?message=/, (route) => route.fulfill({ status: 204 }));
  await demo.submit(text);
  await expect(demo.card(text)).toHaveAttribute("data-phase", "closed");
});

test("a hidden page lets its stream go and takes it up again @js", async ({ demo, fragile }) => {
  await expect(demo.live).toHaveAttribute("data-phase", "open");
  await demo.look(true);
  await expect(demo.live).toHaveAttribute("data-phase", "paused", { timeout: 20_000 });
  const text = unique("while hidden");
  await fragile.submit(text);
  await demo.look(false);
  await expect(demo.live).toHaveAttribute("data-phase", "open");
  await expect(demo.card(text)).toHaveCount(1);
});
