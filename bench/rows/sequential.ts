/**
 * One large file, written and read from its beginning to its end.
 *
 * What is below the mount stays in the page cache; what the mount itself had cached is gone with each fresh mount.
 */

import { rmSync } from "node:fs";
import { join } from "node:path";
import { timed } from "../command.js";
import { settleMachine } from "../machine.js";
import { mountedRow, onFreshMount } from "../mounted-row.js";
import type { SpeedTarget } from "../row.js";

const mebibytes = 1024;
const target: SpeedTarget = { kind: "speed", atLeast: 0.8, bytes: mebibytes * 1024 * 1024 };

export const writingRow = mountedRow({
  name: "write-1g",
  work: "sequential write of 1 GiB into staging",
  reference: "passthrough_ll",
  rounds: 3,
  target,
  prepare: async (subject, bench) => {
    let rounds = 0;
    const round = async () => {
      rounds += 1;
      const place = bench.place(`${subject.name}-writing-${rounds}`);
      const elapsedMs = await onFreshMount(subject, place, ({ root }) => {
        settleMachine(bench);
        return write(join(root, "large"));
      });
      rmSync(place, { recursive: true });
      return elapsedMs;
    };
    return { round };
  },
});

export const readingRow = mountedRow({
  name: "read-1g",
  work: "sequential read of a cached 1 GiB file",
  reference: "passthrough_ll",
  rounds: 3,
  target,
  prepare: async (subject, bench) => {
    const place = bench.place(`${subject.name}-reading`);
    await onFreshMount(subject, place, ({ root }) => write(join(root, "large")));
    const round = () =>
      onFreshMount(subject, place, ({ root }) => {
        settleMachine(bench);
        return timed("dd", [`if=${join(root, "large")}`, "of=/dev/null", "bs=1M"]);
      });
    return { round };
  },
});

function write(path: string): number {
  return timed("dd", ["if=/dev/zero", `of=${path}`, "bs=1M", `count=${mebibytes}`]);
}
