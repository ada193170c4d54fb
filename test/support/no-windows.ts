/** For recalls of whole archives: nothing is here in part. */

import { mebibytesAround } from "../../src/protocol/archive-window.js";
import type { WindowSink } from "../../src/restore/ports.js";

export const noWindows: WindowSink = {
  missing: ({ sizeBytes }, range) => [mebibytesAround(range, sizeBytes)],
  begin: () => Promise.reject(new Error("Nothing lands in part")),
  complete: () => Promise.reject(new Error("Nothing lands in part")),
};
