/** `casfs mount`: mounts and serves the mount until it is unmounted, here or in the background. */

import { resolve } from "node:path";
import type { Command } from "commander";
import { type MountConfig, mountShape } from "../../config/config.js";
import { loadMountConfig, processSources } from "../../config/load-config.js";
import { givenDescriptor } from "../../fuse/kernel/given-device.js";
import { unmountPath } from "../../fuse/mount-table.js";
import {
  type MountReady,
  type Starter,
  starterOfThisProcess,
  startInBackground,
  supervisorVariable,
} from "../background-mount.js";
import { configured } from "../failure.js";
import { takeWorkerTask } from "../mount-worker.js";
import { hideSecrets, processObserver } from "../process-surroundings.js";
import { addSettings, type Flags } from "../settings-options.js";
import { type StopSignals, stopSignals } from "../stop-signals.js";
import type { Terminal } from "../terminal.js";

export function addMountCommand(program: Command, terminal: Terminal): void {
  const command = program
    .command("mount")
    .description("mount the vaults of an archive service; without --endpoint, of one inside this process")
    .argument("<MOUNTPOINT>", "an existing directory");
  addSettings(command, mountShape).action((path: string, flags: Flags) => mount(resolve(path), flags, terminal));
}

async function mount(mountpoint: string, flags: Flags, terminal: Terminal): Promise<void> {
  const config = await configured(loadMountConfig(processSources(flags)));
  hideSecrets(flags, `casfs mount ${mountpoint}`);
  if (config.daemon) {
    const { stateDirectory } = config;
    // The driver fuse-native mounts by itself, and what somebody else mounted is theirs to keep.
    const isSupervised = config.driver === "kernel" && givenDescriptor(mountpoint) === undefined;
    const ready = await startInBackground({ mountpoint, flags, stateDirectory, isSupervised });
    tellWhereDataGoes(ready, terminal);
    terminal.tell(`casfs: log lines go to ${ready.logFile}`);
    terminal.print(`mounted on ${ready.mountpoint}`);
    return;
  }
  const starter = starterOfThisProcess();
  try {
    if (starter !== undefined && process.env[supervisorVariable] !== undefined) {
      delete process.env[supervisorVariable];
      const directory = process.cwd();
      process.chdir("/");
      const { superviseMount } = await import("../mount-supervisor.js");
      return await superviseMount({
        config,
        mountpoint,
        flags,
        directory,
        starter,
        tell: (line) => terminal.tell(line),
      });
    }
    await mountHere(config, { mountpoint, starter, terminal });
  } catch (error) {
    starter?.failed(error);
    throw error;
  }
}

async function mountHere(
  config: MountConfig,
  {
    mountpoint,
    starter,
    terminal,
  }: { readonly mountpoint: string; readonly starter: Starter | undefined; readonly terminal: Terminal },
): Promise<void> {
  // A process in the background must not keep the directory busy in which it was started.
  if (starter !== undefined) process.chdir("/");
  using stop = stopMounting(mountpoint, terminal);
  starter?.onGone(() => stop.stop());
  // Loaded here so that the other commands start quickly.
  const { runMount } = await import("../../app/mount-app.js");
  const { service, logLevel } = config;
  const device = takeWorkerTask(process.env);
  await runMount(config, {
    mountpoint,
    ...(device === undefined ? {} : { device }),
    observer: processObserver({
      level: logLevel,
      secrets: service.kind === "remote" ? [service.credentials.secretKey] : [],
    }),
    signal: stop.signal,
    onReady: (ready) => {
      if (starter !== undefined) return starter.ready(ready);
      tellWhereDataGoes(ready, terminal);
      terminal.print(`mounted on ${ready.mountpoint}`);
    },
  });
}

/** The first signal asks for an orderly unmount, which may wait for somebody; the second one does not wait. */
function stopMounting(mountpoint: string, terminal: Terminal): StopSignals {
  return stopSignals({
    what: "The mount",
    onFirst: () => terminal.tell(`casfs: unmounting ${mountpoint}; once more detaches it at once`),
    onRepeated: () => {
      const leave = () => process.exit(1);
      unmountPath(mountpoint, { lazy: true }).then(leave, leave);
    },
  });
}

function tellWhereDataGoes(
  { endpoint, dataDirectory, stateDirectory, metricsAddress }: MountReady,
  terminal: Terminal,
): void {
  terminal.tell(
    dataDirectory === null
      ? `casfs: archives are kept by ${endpoint}`
      : `casfs: archives are kept on this machine only, in ${dataDirectory}`,
  );
  terminal.tell(`casfs: staged files, cache and catalog are in ${stateDirectory}`);
  if (metricsAddress !== null) terminal.tell(`casfs: metrics are at http://${metricsAddress}/metrics`);
}
