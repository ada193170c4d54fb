/** Reads a socket message by message as HTTP/1.1 frames them, without changing a byte. */

import type { Socket } from "node:net";

/** Where the body of a message ends. */
export type Framing =
  | { readonly kind: "length"; readonly bytes: number }
  | { readonly kind: "chunked" }
  | { readonly kind: "until-close" };

export interface MessageHead {
  /** As received, with the empty line at its end. */
  readonly raw: Buffer;
  /** The request line or status line. */
  readonly firstLine: string;
  /** The first value of a header; `name` in lowercase. */
  header(name: string): string | undefined;
}

const bufferedBytesMax = 1024 * 1024;
const headBytesMax = 256 * 1024;

/** Takes all that arrives at `socket`, so that its end is noticed even while nobody asks. */
export class WireReader {
  readonly #socket: Socket;
  #buffered: Buffer = Buffer.alloc(0);
  #ended = false;
  #wake: () => void = () => undefined;

  constructor(socket: Socket) {
    this.#socket = socket;
    const end = () => {
      this.#ended = true;
      this.#wake();
    };
    socket.on("data", (chunk: Buffer) => {
      this.#buffered = this.#buffered.length === 0 ? chunk : Buffer.concat([this.#buffered, chunk]);
      if (this.#buffered.length > bufferedBytesMax) socket.pause();
      this.#wake();
    });
    socket.on("end", end).on("close", end);
  }

  /** The next head; undefined when the peer is gone before it was complete. */
  async head(): Promise<MessageHead | undefined> {
    for (;;) {
      const end = this.#buffered.indexOf("\r\n\r\n");
      if (end >= 0) return messageHead(this.#take(end + 4));
      if (this.#buffered.length > headBytesMax || !(await this.#more())) return undefined;
    }
  }

  /** The bytes of a body, those of its framing included; ends early when the peer is gone. */
  async *body(framing: Framing): AsyncGenerator<Buffer, void, undefined> {
    if (framing.kind === "chunked") yield* this.#chunks();
    else yield* this.#bytes(framing.kind === "length" ? framing.bytes : Number.POSITIVE_INFINITY);
  }

  async *#bytes(count: number): AsyncGenerator<Buffer, void, undefined> {
    for (let left = count; left > 0; ) {
      if (this.#buffered.length === 0 && !(await this.#more())) return;
      const piece = this.#take(Math.min(left, this.#buffered.length));
      left -= piece.length;
      yield piece;
    }
  }

  async *#chunks(): AsyncGenerator<Buffer, void, undefined> {
    for (;;) {
      const line = await this.#line();
      if (line === undefined) return;
      yield line;
      const sizeBytes = Number.parseInt(line.toString("latin1"), 16);
      if (sizeBytes > 0) yield* this.#bytes(sizeBytes + 2);
      else if (line.length > 2)
        continue; // trailers, up to the empty line
      else return;
    }
  }

  async #line(): Promise<Buffer | undefined> {
    for (;;) {
      const end = this.#buffered.indexOf("\r\n");
      if (end >= 0) return this.#take(end + 2);
      if (!(await this.#more())) return undefined;
    }
  }

  #take(bytes: number): Buffer {
    const taken = this.#buffered.subarray(0, bytes);
    this.#buffered = this.#buffered.subarray(bytes);
    return taken;
  }

  /** Resolves when there is more than before; false when there will be nothing more. */
  async #more(): Promise<boolean> {
    const before = this.#buffered.length;
    this.#socket.resume();
    while (this.#buffered.length === before) {
      if (this.#ended) return false;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    return true;
  }
}

export function requestFraming(head: MessageHead): Framing {
  if (isChunked(head)) return { kind: "chunked" };
  return { kind: "length", bytes: Number(head.header("content-length") ?? 0) };
}

export function answerFraming(head: MessageHead, method: string): Framing {
  const status = statusOf(head);
  if (method === "HEAD" || status === 204 || status === 304 || status < 200) return { kind: "length", bytes: 0 };
  if (isChunked(head)) return { kind: "chunked" };
  const length = head.header("content-length");
  return length === undefined ? { kind: "until-close" } : { kind: "length", bytes: Number(length) };
}

export function statusOf(head: MessageHead): number {
  return Number(head.firstLine.split(" ")[1]);
}

export function messageHead(raw: Buffer): MessageHead {
  const [firstLine = "", ...lines] = raw.toString("latin1").trimEnd().split("\r\n");
  const headers = new Map<string, string>();
  for (const line of lines) {
    const colon = line.indexOf(":");
    const name = line.slice(0, colon).trim().toLowerCase();
    if (!headers.has(name)) headers.set(name, line.slice(colon + 1).trim());
  }
  return { raw, firstLine, header: (name) => headers.get(name) };
}

function isChunked(head: MessageHead): boolean {
  return head.header("transfer-encoding")?.toLowerCase().includes("chunked") === true;
}
