/**
 * The file systems that are measured: casfs, and what it is compared with, each behind the same small interface.
 *
 * Relies on: `scripts/bench.sh` has built casfs and compiled the references. Never: uses more of casfs than its
 * command line.
 */

import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type Background, background, casfsProgram, run, until } from "./command.js";
import { held } from "./held.js";

/** A file system that is mounted, until it is closed. */
export interface OpenTree {
  /** Where files are made and read. */
  readonly root: string;
  close(): Promise<void>;
}

export interface Subject {
  readonly name: string;
  /** Mounts what is kept in `place`, an empty directory at first; what was written there comes back the next time. */
  open(place: string): Promise<OpenTree>;
}

export const subjectNames = ["casfs", "passthrough_ll", "bindfs", "disk"] as const;
export type SubjectName = (typeof subjectNames)[number];

/** `tools`: the directory of the compiled references. */
export function subjectNamed(name: SubjectName, { tools }: { readonly tools: string }): Subject {
  switch (name) {
    case "casfs":
      return { name, open: openCasfs };
    case "passthrough_ll":
      return mirror(name, (source, mount) => [
        join(tools, "passthrough_ll"),
        ["-f", "-o", `source=${source},cache=always`, mount],
      ]);
    case "bindfs":
      return mirror(name, (source, mount) => ["bindfs", ["-f", source, mount]]);
    case "disk":
      return { name, open: async (place) => ({ root: made(join(place, "source")), close: async () => {} }) };
  }
}

const readyWithinMs = 60_000;

/** A file system that shows the directory `source` at another place. */
function mirror(name: string, command: (source: string, mount: string) => [string, string[]]): Subject {
  const open = async (place: string) => {
    const [source, mount] = [made(join(place, "source")), made(join(place, "mount"))];
    const [program, args] = command(source, mount);
    const server = background(program, args, join(place, "output.log"));
    await ready(server, () => isMounted(mount));
    return held({ root: mount, close: () => unmount(server, mount, () => run("umount", mount)) });
  };
  return { name, open };
}

async function openCasfs(place: string): Promise<OpenTree> {
  const mount = await mountCasfs(place);
  made(mount.root);
  return mount;
}

/** A mount of casfs, whose process can be looked at. */
export interface CasfsMount extends OpenTree {
  readonly pid: number;
}

/**
 * Mounts casfs on a service of its own, or on the one that `options` name. The vault "bench" is its root, and not made yet.
 *
 * Nothing is uploaded unless somebody waits for it: the settle time is a day.
 */
export async function mountCasfs(
  place: string,
  options: readonly string[] = ["--local", join(place, "service")],
  nodeOptions: readonly string[] = [],
): Promise<CasfsMount> {
  const mount = made(join(place, "mount"));
  const state = ["--state", join(place, "state"), "--settle", "24h"];
  const args = [...nodeOptions, casfsProgram, "mount", mount, ...options, ...state];
  const server = background(process.execPath, args, join(place, "output.log"));
  await ready(server, () => server.output().includes("mounted on "));
  const byCommand = () => run(process.execPath, casfsProgram, "unmount", mount);
  return held({ root: join(mount, "bench"), pid: server.pid, close: () => unmount(server, mount, byCommand) });
}

async function ready(server: Background, isReady: () => boolean): Promise<void> {
  await until(() => server.hasEnded() || isReady(), { withinMs: readyWithinMs, what: server.output });
  if (server.hasEnded()) throw new Error(`${server.program} ended before it had mounted: ${server.output()}`);
}

/** In order if possible; a server that does not end is killed and its mount detached. */
async function unmount(server: Background, mount: string, inOrder: () => void): Promise<void> {
  try {
    inOrder();
    await until(server.hasEnded, { withinMs: readyWithinMs, what: () => `${server.program} is unmounting ${mount}` });
  } catch (error) {
    server.kill();
    if (isMounted(mount)) run("umount", "-l", mount);
    throw error;
  }
}

function isMounted(mount: string): boolean {
  return readFileSync("/proc/self/mounts", "utf8").includes(` ${mount} `);
}

function made(directory: string): string {
  mkdirSync(directory, { recursive: true });
  return directory;
}
