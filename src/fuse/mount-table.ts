/**
 * Which casfs file systems are mounted, and how any process unmounts one. Reads /proc/self/mountinfo, which asks no file
 * system anything, so a mount that hangs cannot make this hang.
 */

import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { FileSystemError } from "../domain/errors.js";

/** File system type of every casfs mount, whichever driver made it. */
export const casfsMountType = "fuse.casfs";

export interface MountEntry {
  readonly mountpoint: string;
  readonly source: string;
  readonly type: string;
  /** Device number as in /sys/class/bdi: `major:minor`. */
  readonly device: string;
}

/** All mounts that this process sees, in the order in which they were made. */
async function readMountTable(): Promise<MountEntry[]> {
  return parseMountTable(await readFile("/proc/self/mountinfo", "utf8"));
}

/** The lines of /proc/self/mountinfo (proc(5)): fields, a variable number of optional ones, `-`, and three more. */
export function parseMountTable(text: string): MountEntry[] {
  const entries: MountEntry[] = [];
  for (const line of text.split("\n")) {
    const [before, after] = line.split(" - ", 2);
    const [, , device, , mountpoint] = before?.split(" ") ?? [];
    const [type, source] = after?.split(" ") ?? [];
    if (device === undefined || mountpoint === undefined || type === undefined || source === undefined) continue;
    entries.push({ mountpoint: unescapeField(mountpoint), source: unescapeField(source), type, device });
  }
  return entries;
}

/** Space, tab, newline, backslash and # are written as three octal digits. */
function unescapeField(field: string): string {
  if (!field.includes("\\")) return field;
  return field.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));
}

/** What is mounted exactly at `path` and not hidden by a later mount there. */
export async function findMountAt(path: string): Promise<MountEntry | undefined> {
  const mountpoint = resolve(path);
  return (await readMountTable()).findLast((entry) => entry.mountpoint === mountpoint);
}

/** The first place where the file system with this device number is mounted. */
export async function findMountOfDevice(device: string): Promise<MountEntry | undefined> {
  return (await readMountTable()).find((entry) => entry.device === device);
}

/** All casfs mounts that this process sees. */
export async function listCasfsMounts(): Promise<{ readonly mountpoint: string; readonly source: string }[]> {
  return (await readMountTable())
    .filter(({ type }) => type === casfsMountType)
    .map(({ mountpoint, source }) => ({ mountpoint, source }));
}

/** The casfs mount that `path` lies in (or is), by its absolute path; links are not followed. */
export async function findCasfsMount(
  path: string,
): Promise<{ readonly mountpoint: string; readonly source: string } | undefined> {
  const wanted = resolve(path);
  const mounts = (await readMountTable()).filter(({ mountpoint }) => contains(mountpoint, wanted));
  // The mount in charge of a path is the deepest; of several at one place, the last.
  const inCharge = mounts.reduce<MountEntry | undefined>(
    (best, next) => (best === undefined || next.mountpoint.length >= best.mountpoint.length ? next : best),
    undefined,
  );
  if (inCharge?.type !== casfsMountType) return undefined;
  return { mountpoint: inCharge.mountpoint, source: inCharge.source };
}

function contains(mountpoint: string, path: string): boolean {
  return mountpoint === "/" || path === mountpoint || path.startsWith(`${mountpoint}/`);
}

/**
 * Unmounts what is mounted at `mountpoint`, also after the daemon behind it has died.
 *
 * The daemon may be the calling process: its event loop must be free to answer while `umount` looks at the path.
 *
 * @param options.run How the program is run that unmounts; as a child of this process unless given.
 * @throws FileSystemError "busy" when it is in use and not `lazy`, "not-found" when nothing is mounted there,
 *   "not-permitted" when somebody else mounted it.
 */
export async function unmountPath(
  mountpoint: string,
  { lazy, run = runProgram }: { readonly lazy: boolean; readonly run?: typeof runProgram },
): Promise<void> {
  const path = resolve(mountpoint);
  const asRoot = process.geteuid?.() === 0;
  const attempts: [string, string[]][] = asRoot
    ? [["umount", ["-i", ...(lazy ? ["-l"] : []), "--", path]]]
    : ["fusermount3", "fusermount"].map((program) => [program, [lazy ? "-uz" : "-u", "--", path]]);
  let result = await run(...attempts[0]!);
  for (const attempt of attempts.slice(1)) {
    if (!result.notInstalled) break;
    result = await run(...attempt);
  }
  if (!result.ok) throw unmountError(path, result.text);
}

function unmountError(path: string, text: string): FileSystemError {
  const what = `Cannot unmount ${path}: ${text}`;
  if (/busy/i.test(text)) {
    return new FileSystemError("busy", what, {
      hint: "Close the files and leave the directories in it, or use `casfs unmount --lazy`",
    });
  }
  if (/not mounted|not found|no mount point|no such file/i.test(text)) return new FileSystemError("not-found", what);
  if (/superuser|permitted|permission/i.test(text)) {
    return new FileSystemError("not-permitted", what, { hint: "Unmount it as the user who mounted it, or as root" });
  }
  return new FileSystemError("unavailable", what);
}

/** How a program of the system ended; `text` is what it said, or why it could not run. */
export interface ProgramResult {
  readonly ok: boolean;
  readonly notInstalled: boolean;
  readonly text: string;
}

/** Messages are compared, so they must not be translated; and no variable of ours goes into a privileged program. */
export const programEnvironment = { PATH: "/usr/sbin:/usr/bin:/sbin:/bin", LC_ALL: "C" };

function runProgram(program: string, programArguments: readonly string[]): Promise<ProgramResult> {
  return new Promise((resolveResult) => {
    execFile(program, programArguments, { env: programEnvironment, cwd: "/" }, (error, stdout, stderr) => {
      const said = `${stderr}${stdout}`.trim();
      resolveResult({
        ok: error === null,
        notInstalled: (error as NodeJS.ErrnoException | null)?.code === "ENOENT",
        text: said || (error?.message ?? ""),
      });
    });
  });
}
