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
import { serviceOptions, startPlainServer, startService } from "../server.js";
import { mountCasfs } from "../subject.js";

const mebibytes = 1024;

export const archivingRow: Row = {
  name: "archive-1g",
  work: "cp of 1 GiB until archived, local server",
  reference: "SHA-256 + cp + fdatasync",
  rounds: 3,
  target: { kind: "time", atMost: 2 },
  prepare: async (bench) => {
    const source = randomFile(bench);
    return { casfs: archiving(bench, source), reference: copying(bench, source) };
  },
};

export const recallRow: Row = {
  name: "recall-1g",
  work: "recall of 1 GiB until readable",
  reference: "node:http + SHA-256",
  rounds: 3,
  target: { kind: "time", atMost: 1.5 },
  prepare: async (bench) => {
    const source = randomFile(bench);
    return { casfs: await recalling(bench, source), reference: await downloading(bench, source) };
  },
};

function archiving(bench: Bench, source: string): Contestant {
  return {
    round: async () => {
      const place = bench.place("archiving");
      const mount = await mountCasfs(place);
      run("mkdir", mount.root);
      settleMachine(bench);
      const file = join(mount.root, "large");
      const elapsedMs = timed("cp", [source, file]) + timed(process.execPath, [casfsProgram, "wait", file]);
      await mount.close();
      rmSync(place, { recursive: true });
      return elapsedMs;
    },
  };
}

function copying(bench: Bench, source: string): Contestant {
  return {
    round: async () => {
      const place = bench.place("copying");
      settleMachine(bench);
      const { ms } = report<Report>("plain-client", "copy", source, join(place, "large"));
      rmSync(place, { recursive: true });
      return ms;
    },
  };
}

/** Jobs of its service are done at once. The first byte can be read when the whole has landed. */
async function recalling(bench: Bench, source: string): Promise<Contestant> {
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
      settleMachine(bench);
      return timed("head", ["-c", "1", file]);
    },
    close: async () => {
      await mount.close();
      await service.close();
    },
  };
}

async function downloading(bench: Bench, source: string): Promise<Contestant> {
  const place = bench.place("plain");
  run("cp", source, join(place, "large"));
  const server = await startPlainServer(place);
  return {
    round: async () => {
      const target = bench.place("downloaded");
      settleMachine(bench);
      const { ms } = report<Report>("plain-client", "download", server.url, join(target, "large"));
      rmSync(target, { recursive: true });
      return ms;
    },
    close: () => server.close(),
  };
}

function randomFile(bench: Bench): string {
  const file = join(bench.place("source"), "large");
  run("dd", "if=/dev/urandom", `of=${file}`, "bs=1M", `count=${mebibytes}`);
  return file;
}
