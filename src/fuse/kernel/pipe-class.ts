/**
 * Node's internal handle around `uv_pipe_t`, which reads any descriptor that epoll can watch.
 *
 * No documented way leads to the class; a listening local socket is an instance of it. The socket has a name in the
 * abstract namespace, so that no file is made, and is closed before anybody could connect.
 */

import { randomUUID } from "node:crypto";
import { createServer, type Server } from "node:net";
import { FileSystemError } from "../../domain/errors.js";

interface PipeHandle {
  open(fileDescriptor: number): number | undefined;
}
export type PipeClass = new (type: number) => PipeHandle;

/** @throws FileSystemError "not-supported" in a Node.js that keeps it elsewhere. */
export async function pipeHandleClass(): Promise<PipeClass> {
  const server: Server & { readonly _handle?: { readonly constructor: PipeClass } } = createServer();
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen({ path: `\0casfs-${randomUUID()}` }, resolve);
  });
  const Pipe = server._handle?.constructor;
  await new Promise((resolve) => server.close(resolve));
  if (Pipe === undefined) throw new FileSystemError("not-supported", "Cannot find the pipe handle of this Node.js");
  return Pipe;
}
