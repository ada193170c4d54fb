/**
 * Creating many small files, one after the other: open, write 4 KiB, close. In casfs each close is journaled.
 *
 * Never: removes a round's files before the next. ext4 does not reuse inodes for minutes after their deletion and looks
 * past all of them at each creation, which then takes ten times as long; for the same reason a benchmark that follows
 * another within five minutes has slower rounds, on both sides.
 */

import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { run, timed } from "../command.js";
import { mountedRow, onFreshMount } from "../mounted-row.js";
import { countText, type Scale } from "../scale.js";

export const creatingRow = ({ files, roundsMax }: Scale) =>
  mountedRow({
    name: "create-10000",
    work: `create, write, close of ${countText(files)} files of 4 KiB`,
    reference: "bindfs",
    rounds: Math.min(3, roundsMax),
    target: { kind: "time", atMost: 1 },
    prepare: async (subject, bench) => {
      let rounds = 0;
      const round = async () => {
        rounds += 1;
        const place = bench.place(`${subject.name}-creating-${rounds}`);
        return onFreshMount(subject, place, ({ root }) => {
          mkdirSync(join(root, "files"));
          run("sync");
          return timed(join(bench.tools, "create-files"), [join(root, "files"), String(files), "4096"]);
        });
      };
      return { round };
    },
  });
