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
import { type Scale, sizeText } from "../scale.js";

function target({ mebibytes }: Scale): SpeedTarget {
  return { kind: "speed", atLeast: 0.8, bytes: mebibytes * 1024 * 1024 };
}

export const writingRow = (scale: Scale) =>
  mountedRow({
    name: "write-1g",
    work: `sequential write of ${sizeText(scale)} into staging`,
    reference: "passthrough_ll",
    rounds: Math.min(3, scale.roundsMax),
    target: target(scale),
    prepare: async (subject, bench) => {
      let rounds = 0;
      const round = async () => {
        rounds += 1;
        const place = bench.place(`${subject.name}-writing-${rounds}`);
        const elapsedMs = await onFreshMount(subject, place, ({ root }) => {
          settleMachine(bench, scale);
          return write(join(root, "large"), scale);
        });
        rmSync(place, { recursive: true });
        return elapsedMs;
      };
      return { round };
    },
  });

export const readingRow = (scale: Scale) =>
  mountedRow({
    name: "read-1g",
    work: `sequential read of a cached ${sizeText(scale)} file`,
    reference: "passthrough_ll",
    rounds: Math.min(3, scale.roundsMax),
    target: target(scale),
    prepare: async (subject, bench) => {
      const place = bench.place(`${subject.name}-reading`);
      await onFreshMount(subject, place, ({ root }) => write(join(root, "large"), scale));
      const round = () =>
        onFreshMount(subject, place, ({ root }) => {
          settleMachine(bench, scale);
          return timed("dd", [`if=${join(root, "large")}`, "of=/dev/null", "bs=1M"]);
        });
      return { round };
    },
  });

function write(path: string, { mebibytes }: Scale): number {
  return timed("dd", ["if=/dev/zero", `of=${path}`, "bs=1M", `count=${mebibytes}`]);
}
