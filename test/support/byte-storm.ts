/** Sends whatever bytes a test wants to a server, on a connection of their own, and says how it was answered. */

import { connect } from "node:net";

export interface StormOutcome {
  /** Of every answer on the connection, in order. */
  readonly statuses: readonly number[];
  readonly text: string;
  /** The server let the time pass without closing the connection. */
  readonly hung: boolean;
}

const silenceMs = 10;

/**
 * Sends `pieces`, says that no more will come, and collects until the server closes the connection.
 *
 * @param options.answers It is said when so many answers have come; otherwise when the server has been silent for a
 * moment, which on a busy machine may be before its first answer.
 * @param options.patienceMs When the server counts as hung.
 */
export function sendBytes(
  port: number,
  pieces: readonly (string | Uint8Array)[],
  { answers, patienceMs = 60_000 }: { readonly answers?: number; readonly patienceMs?: number } = {},
): Promise<StormOutcome> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
    const received: Buffer[] = [];
    // Who says so at once is taken for gone: Node's server then drops the requests that it has not answered.
    let silence: NodeJS.Timeout | undefined;
    const statuses = () => statusesOf(Buffer.concat(received).toString("latin1"));
    const waitForSilence = () => {
      clearTimeout(silence);
      if (answers === undefined || statuses().length >= answers) silence = setTimeout(() => socket.end(), silenceMs);
    };
    waitForSilence();
    const end = (hung: boolean) => {
      clearTimeout(timer);
      clearTimeout(silence);
      socket.destroy();
      const text = Buffer.concat(received).toString("latin1");
      resolve({ statuses: statusesOf(text), text, hung });
    };
    const timer = setTimeout(() => end(true), patienceMs);
    // A reset is an answer too: the server has closed a connection that went on sending.
    socket.on("error", () => end(false));
    socket.on("data", (chunk) => {
      received.push(chunk);
      waitForSilence();
    });
    socket.on("close", () => end(false));
    socket.on("end", () => end(false));
    for (const piece of pieces) socket.write(typeof piece === "string" ? Buffer.from(piece, "latin1") : piece);
  });
}

function statusesOf(text: string): number[] {
  return [...text.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map((match) => Number(match[1]));
}
