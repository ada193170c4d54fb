/** Finds the mounts that a command line means, and talks to them. Never looks inside a mount. */

import { lstat, readlink, realpath } from "node:fs/promises";
import { basename, dirname, join, relative, resolve } from "node:path";
import type { ControlApi, MountPath, PathFailure, StatusReport } from "../app/control-api.js";
import { controlClient } from "../app/control-client.js";
import { controlSocketPath } from "../app/control-socket.js";
import { stateDirectoryOf } from "../app/mount-source.js";
import { CancelledError, FileSystemError } from "../domain/errors.js";
import { findCasfsMount, listCasfsMounts } from "../fuse/mount-table.js";
import { printable } from "../lib/printable.js";

/** A mounted casfs and where its daemon keeps its state. */
export interface CasfsMount {
  readonly mountpoint: string;
  readonly stateDirectory: string;
}

/** Some paths of one mount, as the user wants them treated in one call. */
export interface MountSelection {
  readonly mount: CasfsMount;
  readonly paths: readonly MountPath[];
}

/** All casfs mounts of this machine, in the order in which they were made. */
export async function allMounts(): Promise<CasfsMount[]> {
  return (await listCasfsMounts()).map(toMount);
}

/**
 * The mount that is meant where none is named; undefined when nothing is mounted.
 *
 * @param question What cannot be told when there are several: "which mount to check".
 * @param how The words by which a mount is named.
 * @throws FileSystemError "invalid", with all of them, when there are several.
 */
export async function onlyMount(question: string, how: string): Promise<CasfsMount | undefined> {
  const [mount, ...others] = await allMounts();
  if (mount === undefined || others.length === 0) return mount;
  const names = [mount, ...others].map(({ mountpoint }) => printable(mountpoint)).join(", ");
  throw new FileSystemError("invalid", `Cannot tell ${question}: there are ${others.length + 1} casfs mounts`, {
    hint: `Name one of them as ${how}: ${names}`,
  });
}

/** The mount with exactly this mountpoint. @throws FileSystemError "not-found" when there is none. */
export async function mountAt(path: string): Promise<CasfsMount> {
  const { mount, place } = await locate(path);
  if (place === mount.mountpoint) return mount;
  throw new FileSystemError("not-found", `Cannot use ${path}: it is no mountpoint, it lies in one`, {
    hint: `The mountpoint is ${mount.mountpoint}`,
  });
}

/**
 * The mounts in which `paths` lie, each with its paths.
 *
 * A link leads to what it names, which has a content; a link has none.
 *
 * @param options.strayLinks What becomes of a link that leads nowhere, or out of casfs: "keep" takes it as it is, an
 *   entry without content, for commands that have nothing to do with it then.
 * @throws FileSystemError "not-found" when a path is not on a casfs mount, or such a link.
 */
export async function selectMounts(
  paths: readonly string[],
  { strayLinks = "refuse" }: { readonly strayLinks?: "refuse" | "keep" } = {},
): Promise<MountSelection[]> {
  const selections = new Map<string, { mount: CasfsMount; paths: MountPath[] }>();
  for (const path of paths) {
    const named = await locate(path);
    const { mount, place } = await followed(named, path).catch((error: unknown) => {
      if (strayLinks === "keep") return named;
      throw error;
    });
    const selection = selections.get(mount.mountpoint) ?? { mount, paths: [] };
    selection.paths.push(namesBelow(mount.mountpoint, place));
    selections.set(mount.mountpoint, selection);
  }
  return [...selections.values()];
}

/** Calls the daemon of `mount`; its connection ends with `work`. */
export async function withControl<T>(mount: CasfsMount, work: (api: ControlApi) => Promise<T>): Promise<T> {
  const client = controlClient(controlSocketPath(mount.stateDirectory), { mountpoint: mount.mountpoint });
  try {
    return await work(client);
  } finally {
    client.close();
  }
}

/** A daemon that is stopped or stuck accepts a connection all the same. */
const statusTimeoutMs = 5000;

/** @throws CasfsError when it does not answer, or not within a few seconds. */
export async function statusOf(mount: CasfsMount): Promise<StatusReport> {
  const client = controlClient(controlSocketPath(mount.stateDirectory), { mountpoint: mount.mountpoint });
  const timer = setTimeout(() => client.close(), statusTimeoutMs);
  try {
    return await client.status();
  } catch (error) {
    if (!(error instanceof CancelledError)) throw error;
    const what = `The casfs mount at ${mount.mountpoint} does not answer: it is busy, stopped or stuck`;
    throw new FileSystemError("unavailable", what, { cause: error });
  } finally {
    clearTimeout(timer);
    client.close();
  }
}

/** `PATH: reason` as the user would write the path. */
export function failureLine(mount: CasfsMount, { path, reason }: PathFailure): string {
  return printable(`${join(mount.mountpoint, path)}: ${reason}`);
}

/** Never aborted: a Ctrl-C ends this process, the daemon sees that its caller is gone. */
export function untilInterrupted(): AbortSignal {
  return new AbortController().signal;
}

interface Located {
  readonly mount: CasfsMount;
  readonly place: string;
}

async function locate(path: string): Promise<Located> {
  const place = await placeOf(path);
  const found = await findCasfsMount(place);
  if (found !== undefined) return { mount: toMount(found), place };
  // Outside of casfs a link may lead into it.
  if (await isLink(place)) return targetOf(place, path);
  throw new FileSystemError("not-found", `Cannot use ${path}: it is not on a casfs mount`, { hint: statusHint });
}

/** A link inside a mount leads on. The mountpoint is never looked at: its mount may be stuck. */
async function followed(named: Located, path: string): Promise<Located> {
  const isEntry = named.place !== named.mount.mountpoint;
  return isEntry && (await isLink(named.place)) ? targetOf(named.place, path) : named;
}

/** What the link at `link` leads to in the end. @throws FileSystemError "not-found" when that is not on a casfs mount. */
async function targetOf(link: string, path: string): Promise<Located> {
  const named = resolve(dirname(link), await readlink(link));
  const what = `Cannot use ${path}: it is a link to ${named}`;
  const target = await realpath(link).catch((cause: NodeJS.ErrnoException) => {
    // A dead mount cannot be walked through.
    if (cause.code !== "ENOENT" && cause.code !== "ENOTDIR" && cause.code !== "ELOOP") return named;
    const why = cause.code === "ELOOP" ? "and leads in a circle" : "which is not there";
    throw new FileSystemError("not-found", `${what}, ${why}`, { cause });
  });
  const found = await findCasfsMount(target);
  if (found !== undefined) return { mount: toMount(found), place: target };
  throw new FileSystemError("not-found", `${what}, which is not on a casfs mount`, { hint: statusHint });
}

const statusHint = "`casfs status` lists the mounts";

/** The absolute path of `path` without links, but for the last name: a link there is what is meant. */
async function placeOf(path: string): Promise<string> {
  const absolute = resolve(path);
  if (absolute === "/") return absolute;
  const follow = path.endsWith("/");
  try {
    return follow ? await realpath(absolute) : join(await realpath(dirname(absolute)), basename(absolute));
  } catch (error) {
    // A dead or a denied mount cannot be walked through; by its name it is found all the same.
    if ((await findCasfsMount(absolute)) !== undefined) return absolute;
    const { code } = error as NodeJS.ErrnoException;
    if (code !== "ENOENT" && code !== "ENOTDIR") throw error;
    throw new FileSystemError("not-found", `Cannot find ${path}: there is no ${dirname(absolute)}`, { cause: error });
  }
}

function isLink(path: string): Promise<boolean> {
  return lstat(path).then(
    (stat) => stat.isSymbolicLink(),
    () => false,
  );
}

function namesBelow(mountpoint: string, place: string): MountPath {
  return relative(mountpoint, place)
    .split("/")
    .filter((name) => name !== "");
}

function toMount({ mountpoint, source }: { readonly mountpoint: string; readonly source: string }): CasfsMount {
  const stateDirectory = stateDirectoryOf(source);
  if (stateDirectory !== undefined) return { mountpoint, stateDirectory };
  throw new FileSystemError("unavailable", `Cannot tell where the mount at ${mountpoint} keeps its state: ${source}`);
}
