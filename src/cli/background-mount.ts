/**
 * `casfs mount --daemon`: the same command as a process of its own, whose starter waits until it has mounted.
 *
 * The two talk over Node's channel between parent and child; all later words go to a log file. Never: puts a secret
 * key on a command line, which every user can read.
 */

import { type ChildProcess, spawn } from "node:child_process";
import { mkdir, open } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { variableName } from "../config/setting.js";
import { describeError, FileSystemError, UsageError } from "../domain/errors.js";
import { givenDescriptor } from "../fuse/kernel/given-device.js";
import { failureText } from "./failure.js";
import { type Flags, flagArguments } from "./settings-options.js";

/** What a mount tells when it answers. */
export interface MountReady {
  readonly mountpoint: string;
  readonly endpoint: string;
  /** Null when the archives are not kept on this machine. */
  readonly dataDirectory: string | null;
  readonly stateDirectory: string;
  readonly metricsAddress: string | null;
}

/** What a started process tells its starter. */
export type MountReport =
  | { readonly type: "ready"; readonly ready: MountReady }
  | { readonly type: "failed"; readonly message: string; readonly hint: string | undefined };

/** The process that has started this one and waits for its report. */
export interface Starter {
  /** Reports and lets the starter go. */
  ready(ready: MountReady): void;
  failed(error: unknown): void;
  /** Calls `listener` when the starter ends before the report. */
  onGone(listener: () => void): void;
}

/** Tells a started process that it is a supervisor. */
export const supervisorVariable = "CASFS_MOUNT_SUPERVISOR";

/** Starts the mount in a session of its own. @throws CasfsError with the reason of the started process. */
export async function startInBackground(options: {
  readonly mountpoint: string;
  readonly flags: Flags;
  readonly stateDirectory: string;
  /** The started process keeps the device and lets others serve the mount, one after the other. */
  readonly isSupervised: boolean;
}): Promise<MountReady & { readonly logFile: string }> {
  const { mountpoint, flags, stateDirectory, isSupervised } = options;
  const logFile = join(stateDirectory, "mount.log");
  const log = await openLog(stateDirectory, logFile);
  try {
    const given = givenDescriptor(mountpoint);
    const place = given === undefined ? mountpoint : `/dev/fd/${inheritedDescriptor}`;
    const commandLine = ["mount", place, ...flagArguments(flags, { except: ["daemon", "secretKey"] })];
    const child = spawn(process.execPath, [mainFile, ...commandLine, "--no-daemon"], {
      detached: true,
      stdio: ["ignore", log.fd, log.fd, "ipc", ...(given === undefined ? [] : [given])],
      env: { ...process.env, ...secretVariable(flags), ...(isSupervised ? { [supervisorVariable]: "1" } : {}) },
    });
    const report = await firstReport(child, logFile);
    if (report.type === "ready") return { ...report.ready, mountpoint, logFile };
    const { message, hint } = report;
    throw new FileSystemError("unavailable", message, hint === undefined ? {} : { hint });
  } finally {
    await log.close();
  }
}

/** Undefined when nobody waits: in a process that was not started by `startInBackground`. */
export function starterOfThisProcess(): Starter | undefined {
  if (!process.connected) return undefined;
  let onGone: () => void = () => undefined;
  const report = (message: MountReport) => {
    process.removeListener("disconnect", onGone);
    if (process.connected) process.send?.(message, () => process.connected && process.disconnect());
  };
  return {
    ready: (ready) => report({ type: "ready", ready }),
    failed: (error) => report({ type: "failed", ...failureText(error) }),
    onGone: (listener) => {
      onGone = listener;
      process.once("disconnect", listener);
    },
  };
}

/** Where a device that was handed to us is in the child: after its standard streams and the channel. */
const inheritedDescriptor = 4;

export const mainFile = fileURLToPath(new URL("./main.js", import.meta.url));

function secretVariable({ secretKey }: Flags): NodeJS.ProcessEnv {
  return typeof secretKey === "string" ? { [variableName("secretKey")]: secretKey } : {};
}

async function openLog(stateDirectory: string, logFile: string) {
  try {
    await mkdir(stateDirectory, { recursive: true, mode: 0o700 });
    return await open(logFile, "a", 0o600);
  } catch (cause) {
    throw new UsageError(`Cannot use state directory ${stateDirectory}: ${describeError(cause)}`, { cause });
  }
}

function firstReport(child: ChildProcess, logFile: string): Promise<MountReport> {
  return new Promise((resolve, reject) => {
    child.once("message", (report) => {
      child.unref();
      resolve(report as MountReport);
    });
    child.once("error", reject);
    child.once("exit", (code, signal) => {
      const how = signal === null ? `with status ${code}` : `by ${signal}`;
      reject(
        new FileSystemError("unavailable", `The mount process ended ${how} before it had mounted`, {
          hint: `Its last words are in ${logFile}`,
        }),
      );
    });
  });
}
