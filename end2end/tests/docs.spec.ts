// The page that describes every address: to be read without a script, to be copied from and filtered with one.
import AxeBuilder from "@axe-core/playwright";
import { expect, test } from "./fixtures.ts";

test.beforeEach(async ({ page, server }) => {
  await page.goto(`${server.url}/docs`);
});

test("every operation has a heading, and the contents lead to it", async ({ page, server }) => {
  const answer = await fetch(`${server.url}/openapi.json`);
  const { paths } = (await answer.json()) as { paths: Record<string, Record<string, { operationId: string }>> };
  for (const [path, methods] of Object.entries(paths)) {
    for (const [method, { operationId }] of Object.entries(methods)) {
      const name = `${method.toUpperCase()} ${path}`;
      await expect(page.getByRole("heading", { level: 3, name, exact: true })).toBeVisible();
      await expect(page.locator(`.contents a[href="#${operationId}"]`)).toHaveCount(1);
    }
  }
});

test("nothing sticks out at the side", async ({ page }) => {
  for (const width of [360, 768, 1600]) {
    await page.setViewportSize({ width, height: 800 });
    const over = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    expect(over, `at ${width} px`).toBeLessThanOrEqual(0);
  }
});

test("nothing is asked of another origin", async ({ page, server }) => {
  const asked: string[] = [];
  page.on("request", (request) => asked.push(request.url()));
  await page.reload({ waitUntil: "load" });
  expect(asked.filter((url) => !url.startsWith(server.url))).toEqual([]);
  expect(asked.length).toBeGreaterThan(1);
});

test("the page and its addresses lead to each other", async ({ page, server }) => {
  await page.getByRole("link", { name: "tidings", exact: true }).click();
  await expect(page).toHaveURL(`${server.url}/`);
  await page.getByRole("link", { name: "Every address, described" }).click();
  await expect(page.getByRole("heading", { level: 1 })).toHaveText("Every address, and what it answers");
});

test("the contents stay in sight on a desk", async ({ page, isMobile }) => {
  test.skip(isMobile, "a phone has them at its top");
  await page.goto(`${page.url()}#publish`);
  await expect(page.getByRole("heading", { name: "POST /.well-known/mercure", exact: true })).toBeInViewport();
  await expect(page.getByRole("navigation", { name: "Contents" })).toBeInViewport();
});

test("without a script nothing pretends to work @no-js", async ({ page }) => {
  await expect(page.getByRole("button", { name: "Copy" })).toHaveCount(0);
  await expect(page.getByRole("searchbox")).toHaveCount(0);
  await expect(page.getByText(/^curl -N /).first()).toBeVisible();
});

test("a command is copied as it stands, with this server's address @js", async ({ page, context, server }) => {
  await context.grantPermissions(["clipboard-read", "clipboard-write"]);
  const button = page.getByRole("button", { name: "the command: Is the server there, and does it take updates?" });
  await button.click();
  await expect(button).toContainText("Copied");
  await expect(page.locator("#said")).toHaveText("Copied.");
  expect(await page.evaluate(() => navigator.clipboard.readText())).toBe(`curl ${server.url}/api/ping`);
  await expect(button).toContainText("Copy the command:");
});

test("the filter shows what has all of its words @js", async ({ page, isMobile }) => {
  const [counter, clock] = ["GET /counter", "GET /clock"].map((name) => page.getByRole("heading", { name, exact: true }));
  await page.getByLabel("Filter").fill("Numbered EVENTS");
  await expect(counter).toBeVisible();
  await expect(clock).toBeHidden();
  await expect(page.locator("#filtered")).toHaveText(/^\d+ of \d+$/);
  if (!isMobile) await expect(page.locator('.contents a[href="#watchClock"]')).toBeHidden();
  await page.getByLabel("Filter").press("Escape");
  await expect(page.getByLabel("Filter")).toHaveValue("");
  await expect(clock).toBeVisible();
});

test("a link to what is filtered out brings it back @js", async ({ page }) => {
  await page.getByLabel("Filter").fill("POST /publish");
  await page.locator("#publishText").getByRole("link", { name: "Submission" }).first().click();
  await expect(page.getByRole("heading", { name: "Submission", exact: true })).toBeInViewport();
});

test("the keyboard alone is enough @js", async ({ page, isMobile }) => {
  test.skip(isMobile, "a phone has none");
  await page.keyboard.press("Tab");
  await expect(page.getByRole("link", { name: "Skip to the content" })).toBeFocused();
  await page.keyboard.press("Enter");
  await page.keyboard.press("Tab");
  expect(await page.evaluate(() => document.activeElement?.closest("main") !== null)).toBe(true);
});

test("what is touched on a phone is at least 44 px high @js", async ({ page, isMobile }) => {
  test.skip(!isMobile, "for fingers");
  for (const control of await page.locator("button:visible, input:visible, .contents a:visible").all()) {
    const box = await control.boundingBox();
    expect(box?.height, (await control.textContent()) ?? "").toBeGreaterThanOrEqual(44);
  }
});

for (const colorScheme of ["light", "dark"] as const) {
  test.describe(`in ${colorScheme} mode`, () => {
    test.use({ colorScheme, contextOptions: { reducedMotion: "reduce" } });

    test("axe finds nothing @js", async ({ page }) => {
      await expect(page.locator('.page[data-alive="true"]')).toBeVisible();
      const { violations } = await new AxeBuilder({ page }).analyze();
      const told = violations.map((violation) => `${violation.id}: ${violation.nodes.map((node) => node.html).join(" | ")}`);
      expect(told).toEqual([]);
    });
  });
}
