// Messages that this tab did not submit.
import { Demo, expect, test, unique } from "./fixtures.ts";

test("a message from another tab appears and runs its burst in both @js", async ({ demo, context, server }) => {
  const other = new Demo(await context.newPage(), server.url, true);
  await other.open();
  await demo.page.bringToFront();
  const text = unique("other tab");
  await other.submit(text);
  for (const tab of [demo, other]) {
    await expect(tab.card(text)).toHaveCount(1);
    await expect(tab.card(text).locator(".card-status")).toHaveText("Closed after 3 arrivals");
  }
  await expect(other.card(text).getByText("from this tab")).toBeVisible();
  await expect(demo.card(text).getByText("from this tab")).toBeHidden();
});

test("a message from a script appears as it comes @js", async ({ demo, request, server }) => {
  await expect(demo.live).toHaveAttribute("data-phase", "open");
  const text = unique("from curl");
  const response = await request.post(`${server.url}/api/messages`, { data: { message: text } });
  expect(response.status()).toBe(201);
  await expect(demo.card(text)).toHaveCount(1);
  await expect(demo.page.getByRole("status")).toContainText(/New message|Arrival|new messages/);
  const plain = unique("plain text");
  await request.post(`${server.url}/publish`, { data: plain, headers: { "content-type": "text/plain" } });
  await expect(demo.card(plain)).toHaveCount(1);
  await expect(demo.card(plain)).toHaveAttribute("data-phase", "closed");
});

test("nothing falls between the render and the stream @js", async ({ page, server }) => {
  const text = unique("in between");
  await page.route("**/*.wasm", async (route) => {
    await server.submit(text);
    await route.continue();
  });
  const demo = new Demo(page, server.url, true);
  await demo.open();
  await expect(demo.card(text)).toHaveCount(1);
});

test("seven tabs do not starve each other @js", async ({ demo, context, server, isMobile }) => {
  test.skip(isMobile, "once is enough");
  test.setTimeout(120_000);
  let last = demo;
  for (let n = 0; n < 7; n += 1) {
    last = new Demo(await context.newPage(), server.url, true);
    await last.open();
    if (n < 6) await last.look(true);
  }
  // The first tabs let their streams go after ten seconds, and the last ones get through.
  await expect(last.live).toHaveAttribute("data-phase", "open", { timeout: 30_000 });
  const text = unique("seventh tab");
  await last.submit(text);
  await expect(last.card(text)).toHaveAttribute("data-phase", "closed");
});
