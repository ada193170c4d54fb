/**
 * One holder of a name at a time, over all processes of the machine.
 *
 * A socket in Linux's abstract namespace: the kernel lets go of it when its process ends, kill -9 included, so there is
 * no stale lock to judge, as a lock file would leave it. Processes in different network namespaces do not see each other.
 */

import { createServer } from "node:net";

/** @returns undefined when somebody holds `name` already. Disposing the lock lets go of it. */
export async function tryLock(name: string): Promise<AsyncDisposable | undefined> {
  const server = createServer((socket) => socket.destroy());
  try {
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen({ path: `\0casfs-lock-${name}` }, resolve);
    });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EADDRINUSE") return undefined;
    throw error;
  }
  server.unref(); // A forgotten lock must not keep its process alive.
  return {
    [Symbol.asyncDispose]: () => new Promise<void>((resolve) => void server.close(() => resolve())),
  };
}
