// A tidings server of one's own: the release binary, on a free port, with a data folder that goes
// when the server goes.
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";

const STARTS_WITHIN = 10_000;

export class Server {
  private child: ChildProcess | undefined;
  private port = 0;
  private readonly data = mkdtempSync(path.join(tmpdir(), "tidings-e2e-"));

  constructor(private readonly settings: string[] = []) {}

  get url(): string {
    const scheme = this.settings.includes("--tls-self-signed") ? "https" : "http";
    return `${scheme}://127.0.0.1:${this.port}`;
  }

  /** Starts the server: on a free port first, on the same one when it comes back. */
  async start(): Promise<void> {
    const binary = process.env.TIDINGS_BIN ?? path.resolve(import.meta.dirname, "../../target/release/tidings");
    if (!existsSync(binary)) {
      throw new Error(`${binary} is not there: build it with "cargo leptos build --release", or name it in TIDINGS_BIN`);
    }
    const listen = ["serve", "--listen", `127.0.0.1:${this.port}`, "--data", this.data];
    // The tests submit faster than a visitor may.
    const child = spawn(binary, [...listen, "--rate-limit", "0", ...this.settings], { stdio: ["ignore", "pipe", "pipe"] });
    this.child = child;
    this.port = await new Promise<number>((resolve, reject) => {
      let said = "";
      const timer = setTimeout(() => reject(new Error(`the server did not start:\n${said}`)), STARTS_WITHIN);
      const listenTo = (chunk: Buffer) => {
        said += chunk.toString();
        const found = /https?:\/\/127\.0\.0\.1:(\d+)/.exec(said);
        if (!found) return;
        clearTimeout(timer);
        resolve(Number(found[1]));
      };
      child.stdout?.on("data", listenTo);
      child.stderr?.on("data", listenTo);
      child.once("exit", (code) => reject(new Error(`the server ended with ${code}:\n${said}`)));
    });
  }

  /** Ends the server, at once: what it has acknowledged must survive that. */
  async stop(): Promise<void> {
    const child = this.child;
    this.child = undefined;
    if (!child || child.exitCode !== null) return;
    const gone = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGKILL");
    await gone;
  }

  /** Ends the server and takes its data away. */
  async remove(): Promise<void> {
    await this.stop();
    rmSync(this.data, { recursive: true, force: true });
  }

  /** Submits a message as a script does. */
  async submit(message: string): Promise<{ id: string }> {
    const response = await fetch(`${this.url}/api/messages`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ message }),
    });
    if (response.status !== 201) throw new Error(`${response.status}: ${await response.text()}`);
    return (await response.json()) as { id: string };
  }

  /** Publishes an update of these fields on the hub; answers its id. It must allow that without a token. */
  async publish(fields: Record<string, string | undefined>): Promise<string> {
    const given = Object.entries(fields).filter((field): field is [string, string] => field[1] !== undefined);
    const response = await fetch(`${this.url}/.well-known/mercure`, { method: "POST", body: new URLSearchParams(given) });
    const answer = await response.text();
    if (response.status !== 200) throw new Error(`${response.status}: ${answer}`);
    return answer;
  }
}
