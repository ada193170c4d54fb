/** Before each test: one that the driver of this run cannot pass is skipped, with the reason of `driver-limits.ts`. */

import { beforeEach } from "vitest";
import { driverLimits } from "./driver-limits.js";

const reasons = Object.entries(driverLimits.tests);

beforeEach(({ task, skip }) => {
  for (const [place, reason] of reasons) {
    const [file, name = ""] = place.split(": ");
    if (task.file.name.endsWith(`/${file}`) && task.name.startsWith(name)) skip(reason);
  }
});
