import { expect, test, unique } from "./fixtures.ts";

test("a plain form post comes back with the message @no-js", async ({ demo, page }) => {
  const text = unique("no script");
  await demo.field.fill(text);
  await demo.send.click();
  await expect(demo.card(text)).toBeVisible();
  expect(new URL(page.url()).hash).toMatch(/^#m-/);
  await expect(demo.card(text).locator("time")).toHaveText(/UTC$/);
});

test.describe("a refused form post", () => {
  test.use({ expected: /status of 422/ });

  test("keeps the text and shows the error at the field @no-js", async ({ demo, page }) => {
    const text = `\n  ${"x".repeat(4097)}</textarea>&amp;`;
    await demo.field.fill(text);
    const [response] = await Promise.all([page.waitForResponse((response) => response.request().method() === "POST"), demo.send.click()]);
    expect(response.status()).toBe(422);
    await expect(demo.field).toHaveAttribute("aria-invalid", "true");
    await expect(demo.field).toHaveAccessibleDescription(/Shorten it/);
    expect((await demo.field.inputValue()).replaceAll("\r\n", "\n")).toBe(text);
  });
});

test("without a script nothing pretends to work @no-js", async ({ demo, page }) => {
  await expect(page.getByText("Reload for news")).toBeVisible();
  await expect(page.getByRole("button", { name: "Watch" })).toHaveCount(0);
  await expect(page.getByText(/Not watched|not yet/).filter({ visible: true })).toHaveCount(0);
  await expect(page.getByRole("button", { name: "Copy" })).toHaveCount(0);
  await expect(page.getByRole("heading", { level: 1 })).toBeVisible();
  await expect(demo.send).toBeEnabled();
});

test.describe("before the WASM has arrived", () => {
  test.use({ expected: /ERR_FAILED|Failed to fetch/ });

  test("the form works @js", async ({ page, server }) => {
    await page.route("**/*.wasm", (route) => route.abort());
    await page.goto(server.url);
    const text = unique("early");
    await page.getByLabel("Your message").fill(text);
    await page.getByRole("button", { name: "Send" }).click();
    await expect(page.locator(".card-text").filter({ hasText: text })).toBeVisible();
    await expect(page.locator('.page[data-alive="true"]')).toHaveCount(0);
  });
});

test.describe("an unknown address", () => {
  // Chromium reports the status of the page itself as an error.
  test.use({ expected: /status of 404/ });

  test("is a page with a way back", async ({ page, server }) => {
    const response = await page.goto(`${server.url}/no/such/thing`);
    expect(response?.status()).toBe(404);
    await expect(page.getByRole("heading", { level: 1 })).toHaveText("No tidings from here.");
    await expect(page.getByText("/no/such/thing")).toBeVisible();
    await page.getByRole("link", { name: "To the page" }).click();
    await expect(page.getByLabel("Your message")).toBeVisible();
  });
});
