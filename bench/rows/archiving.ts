/**
 * One large file on its way from a mount into a vault, and back.
 *
 * Both sides of the way there have synced what they answer for: casfs its staging file and the service's archive, the
 * reference its one copy.
 */

import { rmSync } from "node:fs";
import { join } from "node:path";
import { casfsProgram, report, run, timed } from "../command.js";
import { settleMachine } from "../machine.js";
import type { Report } from "../programs/measured.js";
import type { Bench, Contestant, Row } from "../row.js";
import { type Scale, sizeText } from "../scale.js";
import { serviceOptions, startPlainServer, startService } from "../server.js";
import { mountCasfs } from "../subject.js";

export const archivingRow = (scale: Scale): Row => ({
  name: "archive-1g",
  work: `cp of ${sizeText(scale)} until archived, local server`,
  reference: "SHA-256 + cp + fdatasync",
  rounds: Math.min(3, scale.roundsMax),
  target: { kind: "time", atMost: 2 },
  prepare: async (bench) => {
    const source = randomFile(bench, scale);
    return { casfs: archiving(bench, scale, source), reference: copying(bench, scale, source) };
  },
});

export const recallRow = (scale: Scale): Row => ({
  name: "recall-1g",
  work: `recall of ${sizeText(scale)} until readable`,
  reference: "node:http + SHA-256",
  rounds: Math.min(3, scale.roundsMax),
  target: { kind: "time", atMost: 1.5 },
  prepare: async (bench) => {
    const source = randomFile(bench, scale);
    return { casfs: await recalling(bench, scale, source), reference: await downloading(bench, scale, source) };
  },
});

function archiving(bench: Bench, scale: Scale, source: string): Contestant {
  return {
    round: async () => {
      const place = bench.place("archiving");
      const mount = await mountCasfs(place);
      run("mkdir", mount.root);
      settleMachine(bench, scale);
      const file = join(mount.root, "large");
      const elapsedMs = timed("cp", [source, file]) + timed(process.execPath, [casfsProgram, "wait", file]);
      await mount.close();
      rmSync(place, { recursive: true });
      return elapsedMs;
    },
  };
}

function copying(bench: Bench, scale: Scale, source: string): Contestant {
  return {
    round: async () => {
      const place = bench.place("copying");
      settleMachine(bench, scale);
      const { ms } = report<Report>("plain-client", "copy", source, join(place, "large"));
      rmSync(place, { recursive: true });
      return ms;
    },
  };
}

/** Jobs of its service are done at once. The first byte can be read when the whole has landed. */
async function recalling(bench: Bench, scale: Scale, source: string): Promise<Contestant> {
  const place = bench.place("recalling");
  const service = await startService(place);
  const mount = await mountCasfs(place, serviceOptions(service.url));
  run("mkdir", mount.root);
  const file = join(mount.root, "large");
  run("cp", source, file);
  run(process.execPath, casfsProgram, "wait", file);
  return {
    round: async () => {
      run(process.execPath, casfsProgram, "evict", file);
      settleMachine(bench, scale);
      return timed("head", ["-c", "1", file]);
    },
    close: async () => {
      await mount.close();
      await service.close();
    },
  };
}

async function downloading(bench: Bench, scale: Scale, source: string): Promise<Contestant> {
  const place = bench.place("plain");
  run("cp", source, join(place, "large"));
  const server = await startPlainServer(place);
  return {
    round: async () => {
      const target = bench.place("downloaded");
      settleMachine(bench, scale);
      const { ms } = report<Report>("plain-client", "download", server.url, join(target, "large"));
      rmSync(target, { recursive: true });
      return ms;
    },
    close: () => server.close(),
  };
}

function randomFile(bench: Bench, { mebibytes }: Scale): string {
  const file = join(bench.place("source"), "large");
  run("dd", "if=/dev/urandom", `of=${file}`, "bs=1M", `count=${mebibytes}`);
  return file;
}
