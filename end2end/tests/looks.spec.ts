// How the page looks and behaves for everybody: widths, colours, keyboard, assistive technology.
import AxeBuilder from "@axe-core/playwright";
import type { Page } from "@playwright/test";
import { expect, test, unique } from "./fixtures.ts";

async function violations(page: Page): Promise<string[]> {
  // Colours are measured where they come to rest, not on their way there.
  await page.evaluate(() => Promise.all(document.getAnimations().map((animation) => animation.finished.catch(() => {}))));
  const { violations } = await new AxeBuilder({ page }).analyze();
  return violations.map((violation) => `${violation.id}: ${violation.nodes.map((node) => node.html).join(" | ")}`);
}

for (const colorScheme of ["light", "dark"] as const) {
  test.describe(`in ${colorScheme} mode`, () => {
    test.use({ colorScheme, contextOptions: { reducedMotion: "reduce" } });

    test("axe finds nothing, with cards in every state @js", async ({ demo, page, server }) => {
      await server.submit(`${"a long line of text ".repeat(40)}\n\n${"line\n".repeat(30)}`);
      await page.reload();
      await demo.hydrated();
      expect(await violations(page)).toEqual([]);
      for (let n = 0; n < 6; n += 1) await demo.submit(unique("for axe"));
      await page.locator("summary").first().click();
      expect(await violations(page)).toEqual([]);
      await expect(page.locator(".card").first()).toHaveAttribute("data-phase", "closed", { timeout: 20_000 });
      expect(await violations(page)).toEqual([]);
    });

    test("axe finds nothing on the stand-alone client @js", async ({ page, server }) => {
      await page.goto(`${server.url}/client/index.html`);
      await page.getByRole("button", { name: "Open" }).click();
      await expect(page.locator("#log .message").first()).toBeVisible();
      expect(await violations(page)).toEqual([]);
    });

    test.describe("an unknown address", () => {
      test.use({ expected: /status of 404/ });

      test("axe finds nothing there either @js", async ({ page, server }) => {
        await page.goto(`${server.url}/nowhere`);
        expect(await violations(page)).toEqual([]);
      });
    });

    test("the colours follow the system", async ({ demo, page }) => {
      const paper = await page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor);
      expect(paper).toBe(colorScheme === "light" ? "rgb(243, 245, 241)" : "rgb(16, 21, 20)");
      await expect(demo.field).toBeVisible();
    });
  });
}

test.describe("an error at the field", () => {
  test.use({ expected: /status of 422/, contextOptions: { reducedMotion: "reduce" } });

  test("is no violation either @js", async ({ demo, page }) => {
    await demo.field.fill(" ");
    await demo.send.click();
    await expect(demo.field).toHaveAttribute("aria-invalid", "true");
    expect(await violations(page)).toEqual([]);
  });
});

test("nothing sticks out at the side", async ({ demo, page, server }) => {
  await server.submit(`${"x".repeat(300)} https://example.org/${"path/".repeat(40)}`);
  await page.reload();
  await demo.hydrated();
  for (const width of [360, 768, 1600]) {
    await page.setViewportSize({ width, height: 800 });
    const over = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    expect(over, `at ${width} px`).toBeLessThanOrEqual(0);
  }
});

test("what is touched on a phone is at least 44 px high @js", async ({ demo, page, isMobile }) => {
  test.skip(!isMobile, "for fingers");
  await demo.submit(unique("to touch"));
  for (const control of await page.locator("button:visible, summary:visible").all()) {
    const box = await control.boundingBox();
    expect(box?.height, await control.textContent() ?? "").toBeGreaterThanOrEqual(44);
  }
});

test("the keyboard alone is enough @js", async ({ demo, page, isMobile }) => {
  test.skip(isMobile, "a phone has none");
  await page.keyboard.press("Tab");
  await expect(page.getByRole("link", { name: "Skip to the content" })).toBeFocused();
  await page.keyboard.press("Enter");
  await page.keyboard.press("Tab");
  await expect(demo.field).toBeFocused();
  const outline = await demo.field.evaluate((field) => getComputedStyle(field).outlineStyle);
  expect(outline).toBe("solid");
  const text = unique("by keyboard");
  await page.keyboard.type(text);
  await page.keyboard.press("Control+Enter");
  const card = demo.card(text);
  await expect(card).toHaveAttribute("data-phase", "closed");
  await page.keyboard.press("Tab");
  await expect(demo.send).toBeFocused();
  await page.keyboard.press("Tab");
  await expect(card.getByRole("button", { name: "Watch again" })).toBeFocused();
  await page.keyboard.press("Enter");
  await expect(card).toHaveAttribute("data-phase", /connecting|open/);
  await expect(card.getByRole("button")).toBeFocused();
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await expect(card.locator("details")).toHaveAttribute("open", "");
});

test("arrivals are said, one sentence at a time @js", async ({ demo, page }) => {
  const text = unique("to be heard");
  const said = await page.getByRole("status").evaluateHandle((status) => {
    const sentences: (string | null)[] = [];
    new MutationObserver(() => sentences.push(status.textContent)).observe(status, {
      childList: true,
      characterData: true,
      subtree: true,
    });
    return sentences;
  });
  await demo.submit(text);
  await expect(page.getByRole("status")).toContainText(`Complete: ${text}.`);
  // Arrivals that come within a second of each other, as on a busy machine, are one sentence.
  const arrivals = ((await said.jsonValue()) as string[]).flatMap((sentence) => {
    const alone = sentence.includes(`of 3: ${text}.`) ? 1 : 0;
    return alone || Number(/(\d+) arrivals\./.exec(sentence)?.[1] ?? 0);
  });
  expect(arrivals.reduce((sum, said) => sum + said)).toBe(3);
  await expect(page.locator("[aria-live]")).toHaveCount(1);
});

test("nothing moves when the page comes to life @js", async ({ page, server, demo }) => {
  for (let n = 0; n < 3; n += 1) await server.submit(unique("to stand still"));
  await page.addInitScript(() => {
    const seen = window as unknown as { shift: number };
    seen.shift = 0;
    new PerformanceObserver((list) => {
      for (const entry of list.getEntries()) seen.shift += (entry as unknown as { value: number }).value;
    }).observe({ type: "layout-shift", buffered: true });
  });
  await page.goto(server.url);
  await demo.hydrated();
  await expect(demo.live).toHaveAttribute("data-phase", "open");
  await page.waitForTimeout(500);
  expect(await page.evaluate(() => (window as unknown as { shift: number }).shift)).toBeLessThan(0.01);
});

test("nothing is asked of another origin", async ({ page, server }) => {
  const asked: string[] = [];
  page.on("request", (request) => asked.push(request.url()));
  await page.goto(server.url);
  await page.waitForLoadState("load");
  const foreign = asked.filter((url) => !url.startsWith(server.url) && !url.startsWith("data:"));
  expect(foreign).toEqual([]);
  expect(asked.length).toBeGreaterThan(1);
});

test("a moment is shown in the visitor's own time @js", async ({ browser, server }) => {
  const context = await browser.newContext({ timezoneId: "Asia/Kolkata" });
  const page = await context.newPage();
  await server.submit(unique("in local time"));
  await page.goto(server.url);
  await expect(page.locator('.page[data-alive="true"]')).toBeVisible();
  const time = page.locator("time").first();
  const at = new Date((await time.getAttribute("datetime")) ?? "");
  const local = at.toLocaleTimeString("en-GB", { timeZone: "Asia/Kolkata" });
  await expect(time).toContainText(local);
  await expect(time).not.toContainText("UTC");
  await context.close();
});
