/**
 * What a driver cannot keep of what the tests of the mount say; the only place where they differ. Each limit of
 * fuse-native is that of libfuse 2.9 or of its npm package and has its line in native-notes/fuse-native-driver.md.
 */

import { type Driver, driver } from "./driver.js";

export interface DriverLimits {
  /** Options of `casfs mount` that it refuses; they are left out. */
  readonly options: readonly string[];
  /** Checks of `driver_checks.py` and `test/mount/posix` that fail, and a part of what they say. */
  readonly checks: Readonly<Record<string, string>>;
  /** Steps that `fsx.py` leaves out. */
  readonly steps: readonly string[];
  /** Tests of `test/mount` that do not run, by file and the end of their name (or all of the file), and why. */
  readonly tests: Readonly<Record<string, string>>;
}

const oneUser = "EACCES";
const otherUsers = "only the user who mounted may use it";
const noInterrupts = "libfuse does not tell that a caller has given up";
const noFallocate = "it has no fallocate";
const nobodyKnown = "it does not say who calls";
const inherited = "a descriptor that a child closes is taken for its writer's, because nobody says who calls";
const hidden = "a file that was removed while it was open stays as .fuse_hidden after a crash";
const milliseconds = "its times are milliseconds";
const oneTime = "a change of one time alone does not arrive";

const limits: Record<Driver, DriverLimits> = {
  kernel: { options: [], checks: {}, steps: [], tests: {} },
  "fuse-native": {
    options: ["--allow-other"],
    checks: {
      "times to the nanosecond":
        "(1500000000111000000, 1600000000444000000) is not (1500000000111222333, 1600000000444555666)",
      "times before 1970": "0.0 is not -1000",
      "one time alone": "(1000000000.0, 1000000000.0) is not (1200000000, 1000000000)",
      "fallocate extends": "ENOTSUP",
      "names are exchanged": "EINVAL",

      "names that are not utf8 are eilseq": "'EILSEQ' instead of 'ENOENT'",
      "links of a directory count its subdirectories": "Invalid argument",
      "renameat2 flags": "Invalid argument",
      "a removed directory is empty and takes nothing": "FileNotFoundError",
      "file handles find their file": "open_by_handle_at",

      "permission bits of owner group and others": oneUser,
      "directories need search and write permission": oneUser,
      "chmod is for the owner": oneUser,
      "chmod of a foreign group drops set group id": oneUser,
      "chown is for root and groups of the owner": oneUser,
      "chown drops set id bits of files only": oneUser,
      "a chown that changes nothing drops set id bits too": oneUser,
      "writing and cutting drops set id bits": oneUser,
      "a set group id directory gives its group": oneUser,
      "a file with set group id is not made by strangers": oneUser,
      "sticky directories protect names": oneUser,
      "a new file is the callers": oneUser,
      "access asks for the real user": "'False False' instead of 'True False'",
      "utime permissions": oneUser,
      "attributes need permission": oneUser,

      "link unlink and rename move the ctime of the file": "Invalid argument",
      "fallocate moves mtime and ctime": "Operation not supported",
      "any time from 1901 to 2446 keeps its nanoseconds": "(0, 0) instead of (-2147483647000000000",
      "utime now and omit": "(1000000000, 3000000000) instead of (1000000002, 3000000004)",
      "given times of an open file outlive its close": "(0, 0) instead of (111, 222)",

      "seek data and hole": "[(0, 4194304)] instead of",
      fallocate: "Operation not supported",
      "a punched hole leaves the disk": "Operation not supported",
      "nameless files": "Operation not supported",
      namespaces: "Operation not supported",
    },
    steps: ["punch", "zero", "allocate"],
    tests: {
      "posix.test.ts: random calls of several processes and users": otherUsers,
      "kernel-driver.test.ts": "it is about the other driver",
      "supervised.test.ts": "libfuse holds the device, so nobody can serve it after the process has ended",
      "ways-to-mount.test.ts": "libfuse mounts by itself",
      "partial-reads.test.ts": "it has no direct_io for one open, so --partial-recall is refused",

      "cold-reads.test.ts: Ctrl-C on a waiting cat": noInterrupts,
      "cold-tools.test.ts: SIG": noInterrupts,
      "back-pressure.test.ts: a writer that waits can be interrupted": noInterrupts,
      "back-pressure.test.ts: fallocate": noFallocate,
      "cold-crowd.test.ts": "only 64 requests wait at a time",

      "recall-budget.test.ts: beyond --recall-limit": nobodyKnown,
      "recall-budget.test.ts: a program that is named": nobodyKnown,
      "recall-budget.test.ts: `casfs status` shows": nobodyKnown,
      "streaming.test.ts: a file larger than staging": inherited,
      "streaming.test.ts: a shell that lets several programs": inherited,

      "crash-matrix.test.ts": hidden,
      "random-kills.test.ts": hidden,
      "errors.test.ts: the mountpoint is missing": "it says first that its waits have a deadline",

      "main-job.test.ts: cp -a, wait, evict": milliseconds,
      "main-job.test.ts: a second rsync": milliseconds,
      "main-job.test.ts: a new state directory": milliseconds,
      "cold-tools.test.ts: ls -lR": milliseconds,
      "cold-tools.test.ts: stat": milliseconds,
      "cold-tools.test.ts: cp -a": milliseconds,
      "writing-tools.test.ts: cp -a of a tree with links": milliseconds,
      "writing-tools.test.ts: install sets mode and time": milliseconds,
      "writing-tools.test.ts: rsync -aHX": milliseconds,
      "writing-tools.test.ts: a second rsync -a uploads nothing": milliseconds,
      "writing-tools.test.ts: rsync --partial": milliseconds,
      "writing-tools.test.ts: rsync --link-dest": milliseconds,
      "writing-tools.test.ts: rsync --delete": milliseconds,
      "writing-tools.test.ts: rsync -a of one changed file": milliseconds,
      "writing-tools.test.ts: tar -x gives the tree back with its times": oneTime,
      "writing-tools.test.ts: tar -c of a tree that was copied": milliseconds,
      "writing-tools.test.ts: touch -d": milliseconds,
      "writing-tools.test.ts: chmod, chown and touch": milliseconds,
      "writing-tools.test.ts: fallocate": noFallocate,
    },
  },
};

export const driverLimits = limits[driver];

/** What a check says, or null where it says what it should: nothing, or what the driver's limit is. */
export function unexpectedProblem(check: string, problem: string | null | undefined): string | null {
  if (problem === undefined) return "did not run";
  const limit = driverLimits.checks[check];
  if (limit === undefined) return problem;
  return problem?.includes(limit) ? null : `${problem ?? "passes"}; its limit is ${limit}`;
}
