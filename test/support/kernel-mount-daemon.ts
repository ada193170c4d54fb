/**
 * A process of its own that mounts memory by the kernel driver, for tests of how such a process ends, and for timing.
 *
 * Arguments: mountpoint, number of files in `/many`, size in MiB of `/large`. Prints `mounted`; then a line on standard
 * input says how to end: `exit`, `throw` or `unmount`.
 */

import { createInterface } from "node:readline";
import { kernelDriver } from "../../src/fuse/kernel/kernel-driver.js";
import { MemoryFuseOperations } from "./memory-fuse-operations.js";

const [mountpoint = "", fileCount = "0", largeMib = "0"] = process.argv.slice(2);
const operations = new MemoryFuseOperations();
operations.add("/many", null);
for (let index = 0; index < Number(fileCount); index++) operations.add(`/many/file-${index}`, "x");
operations.add("/large", Buffer.alloc(Number(largeMib) * 2 ** 20, 7));

const driver = kernelDriver({
  onError: (operation, ino, error) => console.error(operation, ino, error),
  onWarning: (message) => console.error(message),
});
const session = await driver.mount(
  { mountpoint, source: "casfs:memory", allowOther: true, readOnly: false },
  operations,
);
console.log("mounted");

const endings: Record<string, () => void> = {
  exit: () => process.exit(7),
  throw: () => {
    throw new Error("A daemon that fails");
  },
  unmount: () => void session.unmount({ lazy: false }),
};
const input = createInterface({ input: process.stdin });
input.on("line", (line) => endings[line]?.());
await session.closed;
input.close();
console.log("closed");
