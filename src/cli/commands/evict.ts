/** `casfs evict`: drops the local copies of archived files. */

import type { Command } from "commander";
import { formatSize } from "../../lib/amount-text.js";
import { failureLine, selectMounts, withControl } from "../casfs-mount.js";
import { counted, type Terminal } from "../terminal.js";

export function addEvictCommand(program: Command, terminal: Terminal): void {
  program
    .command("evict")
    .description("drop the local copies of archived files; reading one recalls it")
    .argument("<PATH...>")
    .action((paths: string[]) => evict(paths, terminal));
}

async function evict(paths: readonly string[], terminal: Terminal): Promise<void> {
  let evicted = 0;
  let bytes = 0;
  const kept: string[] = [];
  for (const { mount, paths: names } of await selectMounts(paths)) {
    const result = await withControl(mount, (api) => api.evict({ paths: names }));
    evicted += result.evicted;
    bytes += result.bytes;
    kept.push(...result.kept.map((failure) => failureLine(mount, failure)));
  }
  terminal.print(`${counted(evicted, "file")} evicted, ${formatSize(bytes)}`);
  if (kept.length === 0) return;
  terminal.tell(`casfs: ${counted(kept.length, "file")} kept`);
  for (const line of kept) terminal.tell(`  ${line}`);
  terminal.exitCode = 1;
}
