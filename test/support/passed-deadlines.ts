/**
 * The deadlines of undici's clients in this process, passed when a test says so: waiting for silence takes no time, and
 * an answer that a busy machine made late meets no deadline.
 *
 * Relies on: undici telling of its connections, and ending one by an error of its own when a deadline has passed.
 */

import { subscribe, unsubscribe } from "node:diagnostics_channel";
import type { Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { errors } from "undici";

const channel = "undici:client:connected";

/** What the other side of a connection will say nothing more of. */
export interface Silence {
  /** Of the client. */
  readonly port: number;
  readonly within: "head" | "body";
  /** All that the client was sent on this connection. */
  readonly sentBytes: number;
}

export class PassedDeadlines implements Disposable {
  readonly #sockets = new Map<number, Socket>();
  readonly #remember = (message: unknown) => {
    const { socket } = message as { readonly socket: Socket };
    const { localPort } = socket;
    if (localPort === undefined) return;
    this.#sockets.set(localPort, socket);
    socket.once("close", () => this.#sockets.delete(localPort));
  };

  constructor() {
    subscribe(channel, this.#remember);
  }

  /** Ends what waits on a connection that has fallen silent, once the client has all that came before. */
  async pass({ port, within, sentBytes }: Silence): Promise<void> {
    const socket = this.#sockets.get(port);
    if (socket === undefined) throw new Error(`No client of this process has the port ${port}`);
    while (!socket.destroyed && (socket.bytesRead < sentBytes || socket.readableLength > 0)) await sleep(1);
    // Who reads the body takes the last piece of it before.
    if (within === "body") await sleep(50);
    socket.destroy(within === "head" ? new errors.HeadersTimeoutError() : new errors.BodyTimeoutError());
  }

  [Symbol.dispose](): void {
    unsubscribe(channel, this.#remember);
  }
}
