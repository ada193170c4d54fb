/** HTTP/1.1 on a bare socket: every byte that is sent is the test's, every byte that is received is seen. */

import { connect, type Socket } from "node:net";

export interface Reply {
  readonly status: number;
  /** In the order received, names as received. */
  readonly lines: readonly (readonly [name: string, value: string])[];
  readonly body: Buffer;
  header(name: string): string | undefined;
  // biome-ignore lint/suspicious/noExplicitAny: tests look into answers of every shape
  json(): any;
}

const replyTimeoutMs = 60_000;

export class WireConnection implements Disposable {
  readonly #socket: Socket;
  #received = Buffer.alloc(0);
  #ended = false;
  #failure: Error | undefined;
  #wake: () => void = () => undefined;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on("data", (chunk: Buffer) => {
      this.#received = Buffer.concat([this.#received, chunk]);
      this.#wake();
    });
    socket.on("end", () => this.#end());
    socket.on("close", () => this.#end());
    socket.on("error", (error) => {
      this.#failure = error;
      this.#end();
    });
  }

  static open(port: number): Promise<WireConnection> {
    return new Promise((resolve, reject) => {
      const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
      socket.setNoDelay(true);
      socket.once("error", reject);
      socket.once("connect", () => {
        socket.off("error", reject);
        resolve(new WireConnection(socket));
      });
    });
  }

  /** Resolves when the system has taken the bytes: a server that does not read makes it wait. */
  send(bytes: Uint8Array | string): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#socket.write(typeof bytes === "string" ? Buffer.from(bytes, "latin1") : bytes, (error) =>
        error ? reject(error) : resolve(),
      );
    });
  }

  /** Says that nothing more will be sent, and goes on listening. */
  finishSending(): void {
    this.#socket.end();
  }

  /** The next answer; `bodyless` for one to HEAD. Interim answers (1xx) are answers of their own. */
  async receive({ bodyless = false }: { readonly bodyless?: boolean } = {}): Promise<Reply> {
    const headEnd = await this.#until(() => {
      const end = this.#received.indexOf("\r\n\r\n");
      return end < 0 ? undefined : end;
    });
    const [statusLine = "", ...headerLines] = this.#take(headEnd + 4)
      .toString("latin1")
      .trimEnd()
      .split("\r\n");
    const lines = headerLines.map((line): readonly [string, string] => {
      const colon = line.indexOf(":");
      return [line.slice(0, colon), line.slice(colon + 1).trim()];
    });
    const header = (name: string) => lines.find(([other]) => other.toLowerCase() === name.toLowerCase())?.[1];
    const status = Number(/^HTTP\/1\.1 (\d{3})/.exec(statusLine)?.[1] ?? Number.NaN);
    if (header("transfer-encoding") !== undefined) throw new Error("This client of tests does not read chunked bodies");
    const isEmpty = bodyless || status === 204 || status < 200;
    const length = isEmpty ? 0 : Number(header("content-length") ?? 0);
    await this.#until(() => (this.#received.length >= length ? true : undefined));
    const body = this.#take(length);
    return { status, lines, body, header, json: () => JSON.parse(body.toString("utf8")) };
  }

  /** Resolves when the server has closed, with what it had sent and nobody has taken. */
  async closed(): Promise<Buffer> {
    await this.#until(() => (this.#ended ? true : undefined), { alsoAfterEnd: true });
    return this.#received;
  }

  get unread(): Buffer {
    return this.#received;
  }

  [Symbol.dispose](): void {
    this.#socket.destroy();
  }

  #end(): void {
    this.#ended = true;
    this.#wake();
  }

  #take(length: number): Buffer {
    const taken = this.#received.subarray(0, length);
    this.#received = this.#received.subarray(length);
    return taken;
  }

  async #until<T>(look: () => T | undefined, { alsoAfterEnd = false } = {}): Promise<T> {
    const deadline = Date.now() + replyTimeoutMs;
    for (;;) {
      const found = look();
      if (found !== undefined) return found;
      if (this.#ended && !alsoAfterEnd) throw this.#failure ?? new Error(`Closed after: ${this.#preview()}`);
      if (Date.now() > deadline) throw new Error(`No answer in time; received so far: ${this.#preview()}`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, 1000);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }

  #preview(): string {
    return JSON.stringify(this.#received.subarray(0, 400).toString("latin1"));
  }
}
