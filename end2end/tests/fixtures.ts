// What every spec shares: a server, a page at it, and the promise that nothing was complained about.
import { expect, test as base, type Locator, type Page } from "@playwright/test";
import { Server } from "./server.ts";

type Fixtures = {
  /** The demo page, opened, and alive where there is JavaScript. */
  demo: Demo;
  /** What a spec expects the console to complain about. One pattern: Playwright takes a list for something else. */
  expected: RegExp | undefined;
  complaints: void;
};

type WorkerFixtures = {
  /** This worker's server. A spec that stops it starts it again. */
  server: Server;
};

export class Demo {
  constructor(
    readonly page: Page,
    readonly url: string,
    private readonly alive: boolean,
  ) {}

  async open(): Promise<void> {
    await this.page.goto(this.url);
    await this.hydrated();
  }

  async hydrated(): Promise<void> {
    if (this.alive) await expect(this.page.locator('.page[data-alive="true"]')).toBeVisible();
  }

  get field(): Locator {
    return this.page.getByLabel("Your message");
  }

  get send(): Locator {
    return this.page.getByRole("button", { name: /^Send/ });
  }

  /** The page as if nobody looked at it any more, or as if somebody did again. */
  async look(away: boolean): Promise<void> {
    await this.page.evaluate((hidden) => {
      Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
      document.dispatchEvent(new Event("visibilitychange"));
    }, away);
  }

  get live(): Locator {
    return this.page.locator(".live");
  }

  card(text: string): Locator {
    return this.page.locator(".card").filter({ has: this.page.getByText(text, { exact: true }) });
  }

  /** Submits a message and waits until the field is free for the next. */
  async submit(text: string): Promise<void> {
    await this.field.fill(text);
    await this.field.press("Control+Enter");
    await expect(this.field).toHaveValue("");
  }
}

export const test = base.extend<Fixtures, WorkerFixtures>({
  server: [
    async ({}, use) => {
      const server = new Server();
      await server.start();
      await use(server);
      await server.remove();
    },
    { scope: "worker" },
  ],

  expected: [undefined, { option: true }],

  complaints: [
    async ({ context, expected }, use) => {
      const heard: string[] = [];
      const hear = (text: string) => {
        if (!expected?.test(text)) heard.push(text);
      };
      context.on("console", (message) => {
        if (message.type() === "error" || message.type() === "warning") hear(`${message.text()} (${message.location().url})`);
      });
      context.on("weberror", (error) => hear(String(error.error())));
      await use();
      expect(heard, "no console errors").toEqual([]);
    },
    { auto: true },
  ],

  demo: async ({ page, server, javaScriptEnabled }, use) => {
    const demo = new Demo(page, server.url, javaScriptEnabled !== false);
    await demo.open();
    await use(demo);
  },
});

export { expect };
export { Server } from "./server.ts";

let told = 0;
/** A text that no other spec uses. */
export function unique(text: string): string {
  told += 1;
  return `${text} ${process.pid}-${told}-${Date.now() % 100_000}`;
}
