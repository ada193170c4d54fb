/** Listing a directory of many small files on a fresh mount: nothing of it is in the kernel's caches yet. */

import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { run, timed } from "../command.js";
import { mountedRow, onFreshMount } from "../mounted-row.js";
import type { Bench, Row } from "../row.js";
import type { Subject } from "../subject.js";

const commands = {
  "ls -l": (directory: string) => timed("ls", ["-l", directory]),
  find: (directory: string) => timed("find", [directory, "-type", "f"]),
  "find -size": (directory: string) => timed("find", [directory, "-size", "+5"]),
};

export function listingRows(
  fileCount: number,
  { slow, roundsMax = 5 }: { readonly slow: boolean; readonly roundsMax?: number },
): Row[] {
  return Object.entries(commands).map(([command, list]) =>
    mountedRow({
      name: `${command.replaceAll(/[^a-z]+/g, "-")}-${slow ? 100_000 : 10_000}`,
      work: `${command} of ${fileCount.toLocaleString("en")} files`,
      reference: "passthrough_ll",
      rounds: Math.min(5, roundsMax),
      target: { kind: "time", atMost: 1 },
      slow,
      prepare: async (subject, bench) => {
        const place = await tree(subject, bench, fileCount);
        return { round: () => onFreshMount(subject, place, ({ root }) => list(join(root, "files"))) };
      },
    }),
  );
}

const trees = new WeakMap<Bench, Map<string, string>>();

/** The place of a subject with the files in it; made once, since listing does not change it. */
async function tree(subject: Subject, bench: Bench, fileCount: number): Promise<string> {
  const known = trees.get(bench) ?? new Map<string, string>();
  trees.set(bench, known);
  const name = `${subject.name}-listing-${fileCount}`;
  const place = known.get(name) ?? bench.place(name);
  if (!known.has(name)) {
    await onFreshMount(subject, place, ({ root }) => {
      mkdirSync(join(root, "files"));
      run(join(bench.tools, "create-files"), join(root, "files"), String(fileCount), "4096");
    });
    known.set(name, place);
  }
  return place;
}
