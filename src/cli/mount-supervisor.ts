/**
 * The small process behind `casfs mount --daemon`: it mounts, keeps the device, and lets a worker serve it.
 *
 * A worker that is killed or fails is replaced on the same mount: callers that wait get their answer from its successor.
 * Relies on: a worker that ends with status 0 has been unmounted.
 * Never: opens the catalog or talks to the service; what could fail is in the worker.
 */

import { type ChildProcess, spawn } from "node:child_process";
import { mountSource } from "../app/mount-source.js";
import { systemClock } from "../app/system-clock.js";
import type { MountConfig } from "../config/config.js";
import { FileSystemError } from "../domain/errors.js";
import { type Milliseconds, ms, seconds } from "../domain/time.js";
import { type MountedDevice, mountDevice } from "../fuse/kernel/mounted-device.js";
import { unmountPath } from "../fuse/mount-table.js";
import { type MountReport, mainFile, type Starter } from "./background-mount.js";
import { type WorkerTask, workerVariable } from "./mount-worker.js";
import { type Flags, flagArguments } from "./settings-options.js";

export interface SupervisedMount {
  readonly config: MountConfig;
  readonly mountpoint: string;
  readonly flags: Flags;
  readonly starter: Starter;
  /** In which the command was given. */
  readonly directory: string;
  readonly tell: (line: string) => void;
}

const stopSignals = ["SIGTERM", "SIGINT", "SIGHUP"] as const;

/** So many restarts in so short a time help nobody. */
const restartsMax = 5;
const restartsWithinMs: Milliseconds = seconds(60);
const pauseMs = ms(200);
/** Where the device is in a worker: after its standard streams and the channel. */
const workerDescriptor = 4;

/** Resolves when the file system is unmounted. @throws CasfsError when it cannot be mounted, or its workers keep ending. */
export async function superviseMount(mount: SupervisedMount): Promise<void> {
  const { config, mountpoint } = mount;
  const { allowOther, readOnly, stateDirectory } = config;
  const device = await mountDevice({ mountpoint, source: mountSource(stateDirectory), allowOther, readOnly });
  const mounted = await device.find();
  const isMounted = async () => (await device.find())?.device === mounted?.device;
  // Also between two workers: a supervisor that ends then would take the device with it, and leave a stale mount.
  using stop = new StopRequest();
  try {
    await runWorkers(mount, device, { isMounted, stop });
    if (stop.isAsked && (await isMounted())) await unmountPath(mountpoint, { lazy: true });
  } catch (error) {
    await unmountPath(mountpoint, { lazy: true }).catch(() => undefined);
    throw error;
  }
}

/** Signals that ask for the end; the worker of the moment hears of them. */
class StopRequest implements Disposable {
  isAsked = false;
  worker: ChildProcess | undefined;
  readonly ask = () => {
    this.isAsked = true;
    this.worker?.kill("SIGTERM");
  };

  constructor() {
    for (const signal of stopSignals) process.on(signal, this.ask);
  }

  [Symbol.dispose](): void {
    for (const signal of stopSignals) process.off(signal, this.ask);
  }
}

async function runWorkers(
  mount: SupervisedMount,
  device: MountedDevice,
  { isMounted, stop }: { readonly isMounted: () => Promise<boolean>; readonly stop: StopRequest },
): Promise<void> {
  const ends: number[] = [];
  for (let generation = 0; !stop.isAsked; generation++) {
    const worker = startWorker(mount, device.fileDescriptor, generation);
    stop.worker = worker;
    const { how, isEnd } = await ended(mount, { worker, generation, stop });
    if (isEnd || stop.isAsked || !(await isMounted())) return;
    const now = systemClock.now();
    ends.push(now);
    if (ends.filter((at) => at > now - restartsWithinMs).length > restartsMax) {
      mount.tell(`casfs: the process of ${mount.mountpoint} ended ${how}`);
      throw new FileSystemError(
        "unavailable",
        `The process of ${mount.mountpoint} ended ${restartsMax + 1} times in a minute`,
      );
    }
    mount.tell(`casfs: the process of ${mount.mountpoint} ended ${how}; another one takes its place`);
    await systemClock.sleep(pauseMs);
  }
}

function startWorker(
  { config, mountpoint, flags, directory }: SupervisedMount,
  fileDescriptor: number,
  generation: number,
): ChildProcess {
  const task: WorkerTask = { mountpoint, fileDescriptor: workerDescriptor, generation };
  // Whatever has become of casfs.toml meanwhile: the mount stays that of its state directory.
  const given = flagArguments({ ...flags, state: config.stateDirectory }, { except: ["daemon", "secretKey"] });
  return spawn(process.execPath, [mainFile, "mount", mountpoint, ...given, "--no-daemon"], {
    stdio: ["ignore", "inherit", "inherit", "ipc", fileDescriptor],
    // Relative paths mean what they meant to whoever typed them; the worker leaves the directory when it has read them.
    cwd: directory,
    env: { ...process.env, [workerVariable]: JSON.stringify(task) },
  });
}

/** How it ended; `isEnd` when that was the end of the mount. @throws FileSystemError when the first one cannot start. */
async function ended(
  { starter, mountpoint }: SupervisedMount,
  {
    worker,
    generation,
    stop,
  }: { readonly worker: ChildProcess; readonly generation: number; readonly stop: StopRequest },
): Promise<{ readonly how: string; readonly isEnd: boolean }> {
  starter.onGone(stop.ask);
  let failure: Extract<MountReport, { type: "failed" }> | undefined;
  worker.on("message", (report: MountReport) => {
    if (report.type === "failed") failure = report;
    else if (generation === 0) starter.ready({ ...report.ready, mountpoint });
  });
  return new Promise((resolve, reject) => {
    worker.once("error", reject);
    worker.once("exit", (code, signal) => {
      if (failure !== undefined && generation === 0) {
        const { message, hint } = failure;
        reject(new FileSystemError("unavailable", message, hint === undefined ? {} : { hint }));
      } else resolve({ how: signal === null ? `with status ${code}` : `by ${signal}`, isEnd: code === 0 });
    });
  });
}
