/** What must be closed however the benchmark ends: mounts and servers. */

export interface Closable {
  close(): Promise<void>;
}

const open = new Set<Closable>();

/** `resource`, remembered until it is closed. */
export function held<T extends Closable>(resource: T): T {
  const registered: T = {
    ...resource,
    close: async () => {
      open.delete(registered);
      await resource.close();
    },
  };
  open.add(registered);
  return registered;
}

/** Closes everything that is still open; for the end of the process. */
export async function closeAll(): Promise<void> {
  for (const resource of [...open]) await resource.close().catch((error: unknown) => console.error(String(error)));
}
