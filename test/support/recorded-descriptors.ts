/** The same as `recordingSyncs`, for who opens files by `node:fs`; apart from it, because that module needs `node:fs` itself. */

import type * as Fs from "node:fs";
import type { DurableDisk } from "./power-loss.js";

/** The module `node:fs` whose `fdatasync` reports to `disk`, of files that were opened by its `openSync`. */
export function recordingDescriptors(fs: typeof Fs, disk: () => DurableDisk | undefined): typeof Fs {
  const paths = new Map<number, string>();
  const openSync: typeof fs.openSync = (path, ...rest) => {
    const descriptor = fs.openSync(path, ...rest);
    paths.set(descriptor, String(path));
    return descriptor;
  };
  const fdatasync = (descriptor: number, callback: (error: Error | null) => void) => {
    try {
      const done = disk()?.covered(paths.get(descriptor)!, fs.fstatSync(descriptor, { bigint: true }));
      fs.fdatasync(descriptor, (error) => {
        if (error === null) done?.();
        callback(error);
      });
    } catch (error) {
      setImmediate(callback, error as Error);
    }
  };
  return { ...fs, openSync, fdatasync: fdatasync as typeof fs.fdatasync };
}
