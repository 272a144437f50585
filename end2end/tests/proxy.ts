// A TCP proxy between a client and the server that cuts connections, as a bad network does. It knows no HTTP.
import { connect, createServer, type Socket } from "node:net";

export class TcpProxy {
  private readonly listener = createServer((client) => {
    client.on("error", () => client.destroy());
    this.clients.add(client);
    client.on("close", () => this.clients.delete(client));
    if (!this.isCut) this.carry(client);
  });
  private readonly clients = new Set<Socket>();
  private isCut = false;
  private scissors: { after: Buffer; done: () => void } | undefined;

  constructor(private readonly port: number) {}

  get url(): string {
    const address = this.listener.address();
    if (address === null || typeof address === "string") throw new Error("the proxy has not been started");
    return `http://127.0.0.1:${address.port}`;
  }

  async start(): Promise<void> {
    await new Promise<void>((resolve) => this.listener.listen(0, "127.0.0.1", resolve));
  }

  async stop(): Promise<void> {
    const closed = new Promise((resolve) => this.listener.close(resolve));
    this.cut();
    await closed;
  }

  /** Resets all connections. What connects from now on is accepted, and waits until it is mended. */
  cut(): void {
    this.isCut = true;
    for (const client of this.clients) client.resetAndDestroy();
  }

  /** Does the same as soon as this text has passed to a client, to its last byte and not one more. */
  cutAfter(text: string): Promise<void> {
    return new Promise((done) => {
      this.scissors = { after: Buffer.from(text), done };
    });
  }

  mend(): void {
    this.isCut = false;
    for (const client of this.clients) this.carry(client);
  }

  private carry(client: Socket): void {
    const server = connect(this.port, "127.0.0.1");
    client.pipe(server);
    client.on("close", () => server.destroy());
    server.on("error", () => client.destroy());
    server.on("close", () => client.end());
    let said = Buffer.alloc(0);
    server.on("data", (data) => {
      if (this.isCut) return;
      const passed = said.length;
      said = Buffer.concat([said, data]);
      const scissors = this.scissors;
      const at = scissors ? said.indexOf(scissors.after) : -1;
      if (!scissors || at < 0) {
        client.write(data);
        return;
      }
      this.isCut = true;
      this.scissors = undefined;
      client.write(said.subarray(passed, at + scissors.after.length), () => {
        this.cut();
        scissors.done();
      });
    });
  }
}
