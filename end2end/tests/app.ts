// A web app of an origin of its own, whose page has the clients that come from npm and nothing else.
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import path from "node:path";

const modules = path.resolve(import.meta.dirname, "../node_modules");

const page = `<!doctype html><html lang="en"><title>An app</title><link rel="icon" href="data:,">
<script src="/event-source-polyfill/src/eventsource.js"></script>
<script type="module">
  import { fetchEventSource } from "/@microsoft/fetch-event-source/lib/esm/index.js";
  Object.assign(window, { fetchEventSource, heard: [] });
</script>`;

export class App {
  private readonly server = createServer((request, response) => {
    const asked = new URL(request.url ?? "/", "http://app").pathname;
    if (asked === "/") {
      response.setHeader("content-type", "text/html; charset=utf-8");
      response.end(page);
      return;
    }
    // The libraries' modules name each other without the suffix.
    const file = path.join(modules, asked.endsWith(".js") ? asked : `${asked}.js`);
    response.setHeader("content-type", "text/javascript; charset=utf-8");
    response.end(readFileSync(file));
  });

  get url(): string {
    const address = this.server.address();
    if (address === null || typeof address === "string") throw new Error("the app has not been started");
    return `http://127.0.0.1:${address.port}/`;
  }

  async start(): Promise<void> {
    await new Promise<void>((resolve) => this.server.listen(0, "127.0.0.1", resolve));
  }

  stop(): void {
    this.server.close();
    this.server.closeAllConnections();
  }
}
