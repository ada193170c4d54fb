/** `casfs wait`: returns when the named files are archived. */

import type { Command } from "commander";
import { failureLine, selectMounts, untilInterrupted, withControl } from "../casfs-mount.js";
import { counted, type Terminal } from "../terminal.js";

export function addWaitCommand(program: Command, terminal: Terminal): void {
  program
    .command("wait")
    .description("upload now and wait until files, or all files below directories, are archived")
    .argument("<PATH...>")
    .action((paths: string[]) => wait(paths, terminal));
}

async function wait(paths: readonly string[], terminal: Terminal): Promise<void> {
  // `casfs wait *` in a tree with links to elsewhere: they are in the catalog, and nothing of them is uploaded.
  // At once in all mounts: each skips settling when it is asked.
  const results = await Promise.all(
    (await selectMounts(paths, { strayLinks: "keep" })).map(async ({ mount, paths: names }) => {
      const { archived, left } = await withControl(mount, (api) => api.wait({ paths: names }, untilInterrupted()));
      return { archived, left: left.map((failure) => failureLine(mount, failure)) };
    }),
  );
  const left = results.flatMap((result) => result.left);
  terminal.print(`${counted(total(results.map(({ archived }) => archived)), "file")} archived`);
  if (left.length === 0) return;
  terminal.tell(`casfs: ${counted(left.length, "file")} not archived`);
  for (const line of left) terminal.tell(`  ${line}`);
  terminal.exitCode = 1;
}

function total(counts: readonly number[]): number {
  return counts.reduce((sum, count) => sum + count, 0);
}
