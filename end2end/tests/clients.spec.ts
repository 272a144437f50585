// Clients that are not ours, at the hub over a bad line: each loses its connection, comes back by itself and has had
// every update once, in order. Those of terminals and of Rust are in tests/clients.rs.
import type { fetchEventSource } from "@microsoft/fetch-event-source";
import type { Page } from "@playwright/test";
import { EventSource as NodeEventSource } from "eventsource";
import { App } from "./app.ts";
import { expect, Server, test as base } from "./fixtures.ts";
import { TcpProxy } from "./proxy.ts";

type Update = { id?: string; type?: string; data: string };
type Heard = { id: string; type: string; data: string };

type Client = {
  name: string;
  /** Where it begins: what it must hear is older than its connection. */
  from: string;
  /** What it comes back with: letters that it can send in a header. */
  id: string;
  /** Whether it minds that its connection is cut in the middle of an event. */
  mindsHalves?: true;
  /** What the console says when its connection is cut. */
  expected?: RegExp;
  /** Begins to listen, for as long as the page is open, and answers how to ask for all it has heard. */
  listen: (url: string, page: Page, app: App) => Promise<() => Promise<Heard[]>>;
};

declare global {
  interface Window {
    heard: Heard[];
    fetchEventSource: typeof fetchEventSource;
    EventSourcePolyfill: typeof EventSource;
  }
}

const topic = "https://example.org/imports/7";

// Chromium's own words, whoever has opened the connection.
const reset = /net::ERR_CONNECTION_RESET/;

const inPage =
  (listen: (url: string) => void): Client["listen"] =>
  async (url, page, app) => {
    await page.goto(app.url);
    await page.evaluate(listen, url);
    return () => page.evaluate(() => window.heard);
  };

const clients: Client[] = [
  {
    name: "the browser's own EventSource",
    // When it comes back, the id in its header weighs more.
    from: "last_event_id=earliest",
    id: "größe-Ω-новости",
    expected: reset,
    listen: inPage((url) => {
      const source = new EventSource(url);
      const hear = ({ type, data, lastEventId: id }: MessageEvent) => window.heard.push({ id, type, data });
      for (const type of ["message", "progress"]) source.addEventListener(type, hear);
    }),
  },
  {
    name: "fetch-event-source",
    from: "last_event_id=earliest",
    // `fetch` takes no other letters than Latin-1's for a header.
    id: "größe",
    // It takes the id of an event for its last before it has had the rest.
    mindsHalves: true,
    expected: reset,
    listen: inPage((url) => {
      void window.fetchEventSource(url, {
        openWhenHidden: true,
        onmessage({ id, event, data }) {
          // It tells of comments too.
          if (id) window.heard.push({ id, type: event || "message", data });
        },
      });
    }),
  },
  {
    name: "event-source-polyfill",
    // It replaces this when it comes back.
    from: "lastEventId=earliest",
    id: "größe-Ω-новости",
    // It tells the error it has caught, too.
    expected: new RegExp(`${reset.source}|TypeError: network error`),
    listen: inPage((url) => {
      const source = new window.EventSourcePolyfill(url);
      const hear = ({ type, data, lastEventId: id }: MessageEvent) => window.heard.push({ id, type, data });
      for (const type of ["message", "progress"]) source.addEventListener(type, hear);
    }),
  },
  {
    name: "eventsource in Node",
    from: "last_event_id=earliest",
    id: "größe",
    listen: async (url, page) => {
      const heard: Heard[] = [];
      const source = new NodeEventSource(url);
      const hear = ({ type, data, lastEventId: id }: MessageEvent) => heard.push({ id, type, data });
      for (const type of ["message", "progress"]) source.addEventListener(type, hear);
      page.once("close", () => source.close());
      return async () => heard;
    },
  },
];

const test = base.extend<{ hub: Server; line: TcpProxy; app: App }>({
  hub: async ({}, use) => {
    const hub = new Server(["--publish-without-token"]);
    await hub.start();
    await use(hub);
    await hub.remove();
  },
  line: async ({ hub }, use) => {
    const line = new TcpProxy(Number(new URL(hub.url).port));
    await line.start();
    await use(line);
    await line.stop();
  },
  app: async ({}, use) => {
    const app = new App();
    await app.start();
    await use(app);
    app.stop();
  },
});

for (const { name, from, id, mindsHalves, expected, listen } of clients) {
  test.describe(name, () => {
    test.use({ expected });

    test("comes back by itself and has had every update once @js", async ({ hub, line, app, page, isMobile }) => {
      test.skip(isMobile, "once is enough");
      const told: Heard[] = [];
      const tell = async ({ id, type, data }: Update) => {
        // It shall come back soon.
        const published = await hub.publish({ topic, id, type, data, retry: "50" });
        told.push({ id: published, type: type ?? "message", data: data.replace(/\r\n?/g, "\n") });
      };

      await tell({ data: "the import has begun" });
      const hears = `${line.url}/.well-known/mercure?match=${encodeURIComponent(topic)}&${from}`;
      const heard = await listen(hears, page, app);
      await expect.poll(heard).toEqual(told);
      await tell({ type: "progress", data: "lines\r\n  and more\r\rafter an empty one\n" });
      await tell({ id, data: "größer 🦀" });
      await expect.poll(heard).toEqual(told);
      expect(told[2]?.id).toBe(id);

      if (mindsHalves) {
        line.cut();
      } else {
        const cut = line.cutAfter("the first half\n");
        await tell({ type: "progress", data: "the first half\nand the second" });
        await cut;
      }
      await tell({ data: "missed" });
      await tell({ type: "progress", data: "missed too" });
      line.mend();
      await expect.poll(heard).toEqual(told);
      await tell({ data: "the import is done" });
      await expect.poll(heard).toEqual(told);
      // Or it would complain of the server's end.
      await page.close();
    });
  });
}
