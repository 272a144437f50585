// The demo streams, the terminal's lines, and the stand-alone client.
import { createServer } from "node:http";
import { readFileSync } from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { expect, test, unique } from "./fixtures.ts";

const client = path.resolve(import.meta.dirname, "../../public/client/index.html");

test("a demo stream is switched on, watched, and switched off @js", async ({ demo, page }) => {
  for (const [name, shown] of [
    ["Clock", /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d$/],
    ["Counter", /^Data pushed from server: \(\d+\)$/],
  ] as const) {
    const stream = page.locator(".demo-stream").filter({ has: page.getByRole("heading", { name }) });
    const watch = stream.getByRole("button");
    await expect(watch).toHaveAttribute("aria-pressed", "false");
    const height = (await stream.boundingBox())?.height;
    await watch.click();
    await expect(watch).toHaveAttribute("aria-pressed", "true");
    await expect(stream.locator(".demo-stream-data").nth(1)).toHaveText(shown);
    expect((await stream.boundingBox())?.height).toBe(height);
    await watch.click();
    await expect(watch).toHaveAttribute("aria-pressed", "false");
    await expect(stream).toHaveAttribute("data-phase", "idle");
  }
  await expect(demo.field).toBeVisible();
});

test("demo streams and bursts share four connections @js", async ({ demo, page, server }) => {
  for (const watch of await page.locator(".switch").all()) await watch.click();
  await expect(page.locator('.demo-stream[data-phase="open"]')).toHaveCount(3);
  const texts = [unique("one"), unique("two"), unique("three")];
  await Promise.all(texts.map((text) => server.submit(text)));
  const queued = page.locator('.card[data-phase="queued"]').first();
  await expect(queued.locator(".card-status")).toHaveText("Queued, waits for a free stream");
  for (const text of texts) await expect(demo.card(text)).toHaveAttribute("data-phase", "closed", { timeout: 30_000 });
});

test("a line for the terminal names this server and is copied at a click @js", async ({ context, page, server, demo }) => {
  await context.grantPermissions(["clipboard-read", "clipboard-write"]);
  const line = page.locator(".line").first();
  await line.getByRole("button", { name: /^Copy/ }).click();
  await expect(line.getByRole("button")).toContainText("Copied");
  await expect(page.getByRole("status")).toHaveText("Copied.");
  expect(await page.evaluate(() => navigator.clipboard.readText())).toBe(`curl -N ${server.url}/stream`);
  await expect(line.getByRole("button")).toContainText("Copy:");
  await expect(demo.field).toBeVisible();
});

test("the stand-alone client shows open, message and close @js", async ({ page, server }) => {
  await page.goto(`${server.url}/client/index.html`);
  await expect(page.getByLabel("Server")).toHaveValue(server.url);
  await page.getByLabel("Stream").selectOption("/counter");
  await page.getByRole("button", { name: "Open" }).click();
  await expect(page.locator("#log .open")).toHaveCount(1);
  await expect(page.locator("#log .message").last()).toContainText("Data pushed from server: (1)");
  await expect(page.locator("#log .message").last()).toContainText(/id: [0-9a-f-]{36}/);
  await page.getByRole("button", { name: "Close" }).click();
  await expect(page.locator("#log .close")).toContainText("by hand");
  await page.getByLabel("Stream").selectOption("/stream");
  await page.getByRole("button", { name: "Open" }).click();
  await expect(page.getByRole("status")).toContainText("Open:");
  await server.submit(unique("for the client"));
  await expect(page.locator("#log .close").first()).toContainText("the stream is complete");
  await expect(page.locator("#log .event")).toContainText('close: {"reason":"complete"}');
});

test("the stand-alone client works from another origin @js", async ({ page, server }) => {
  const elsewhere = createServer((_, response) => {
    response.setHeader("content-type", "text/html; charset=utf-8");
    response.end(readFileSync(client));
  });
  await new Promise<void>((resolve) => elsewhere.listen(0, "127.0.0.1", resolve));
  const address = elsewhere.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  await page.goto(`http://127.0.0.1:${address.port}/`);
  await page.getByLabel("Server").fill(server.url);
  await page.getByLabel("Stream").selectOption("/clock");
  await page.getByRole("button", { name: "Open" }).click();
  await expect(page.locator("#log .message").first()).toContainText(/\d{4}-\d\d-\d\d/);
  elsewhere.close();
});

test("the stand-alone client works from a file @js", async ({ page, server }) => {
  await page.goto(pathToFileURL(client).href);
  await expect(page.getByLabel("Server")).toHaveValue("http://127.0.0.1:3000");
  await page.getByLabel("Server").fill(server.url);
  await page.getByLabel("Stream").selectOption("/counter");
  await page.getByRole("button", { name: "Open" }).click();
  await expect(page.locator("#log .message").first()).toContainText("Data pushed from server");
});
