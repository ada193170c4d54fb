/** Bytes on a socket, for requests that no HTTP library would send. */

import { connect, type Socket } from "node:net";

export interface RawReply {
  readonly status: number;
  readonly head: string;
  readonly body: string;
}

/** Sends `head` (lines without line ends) and `body`, then reads one answer. */
export async function rawRequest(
  port: number,
  head: readonly string[],
  options: { readonly body?: Uint8Array; readonly endAfter?: boolean } = {},
): Promise<RawReply> {
  const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
  try {
    socket.write(Buffer.from(`${head.join("\r\n")}\r\n\r\n`, "latin1"));
    if (options.body !== undefined) socket.write(options.body);
    if (options.endAfter) socket.end();
    return await readReply(socket);
  } finally {
    socket.destroy();
  }
}

function readReply(socket: Socket): Promise<RawReply> {
  return new Promise((resolve, reject) => {
    let text = "";
    socket.on("error", reject);
    socket.on("close", () => reject(new Error(`The connection was closed after ${JSON.stringify(text)}`)));
    socket.on("data", (chunk) => {
      text += chunk.toString("latin1");
      const end = text.indexOf("\r\n\r\n");
      if (end < 0) return;
      const head = text.slice(0, end);
      const length = Number(/content-length: (\d+)/i.exec(head)?.[1] ?? 0);
      const body = text.slice(end + 4);
      if (body.length >= length) resolve({ status: Number(head.split(" ")[1]), head, body: body.slice(0, length) });
    });
  });
}
