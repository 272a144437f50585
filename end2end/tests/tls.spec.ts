// Over TLS a browser speaks HTTP/2: one tab holds far more streams than the six that it opens in clear text.
import { expect, Server, test } from "./fixtures.ts";

const STREAMS = 50;

test.use({ ignoreHTTPSErrors: true });

test.describe("over TLS", () => {
  let secure: Server;

  test.beforeAll(async () => {
    secure = new Server(["--tls-self-signed", "--publish-without-token"]);
    await secure.start();
  });

  test.afterAll(async () => {
    await secure.remove();
  });

  test("fifty streams of one tab are all live @js", async ({ page }) => {
    await page.goto(`${secure.url}/docs`);
    const opened = await page.evaluate(async (count) => {
      const heard: string[] = [];
      const sources = Array.from({ length: count }, () => new EventSource("/.well-known/mercure?match=news"));
      Object.assign(window, { heard, sources });
      for (const source of sources) source.onmessage = (event) => heard.push(event.data);
      await Promise.all(sources.map((source) => new Promise((resolve) => (source.onopen = resolve))));
      return sources.filter((source) => source.readyState === EventSource.OPEN).length;
    }, STREAMS);
    expect(opened).toBe(STREAMS);
    const published = await page.request.post(`${secure.url}/.well-known/mercure`, {
      form: { topic: "news", data: "to all" },
    });
    expect(published.status()).toBe(200);
    await expect
      .poll(() => page.evaluate(() => (window as unknown as { heard: string[] }).heard.filter((data) => data === "to all").length))
      .toBe(STREAMS);
    const protocol = await page.evaluate(() => {
      const [navigation] = performance.getEntriesByType("navigation") as PerformanceNavigationTiming[];
      return navigation?.nextHopProtocol;
    });
    expect(protocol).toBe("h2");
  });

  test("the page works as it does in clear text", async ({ page, javaScriptEnabled }) => {
    await page.goto(secure.url);
    if (javaScriptEnabled !== false) await expect(page.locator('.page[data-alive="true"]')).toBeVisible();
    await page.getByLabel("Your message").fill("Hello over TLS");
    await page.getByRole("button", { name: /^Send/ }).click();
    await expect(page.locator(".card").filter({ has: page.getByText("Hello over TLS", { exact: true }) }).first()).toBeVisible();
  });
});
