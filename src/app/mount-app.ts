/**
 * Config -> running mount. The place where the concrete parts meet.
 *
 * Everything started here is stopped here, in the opposite order, however the mount ends.
 */

import { constants } from "node:fs";
import { access, realpath } from "node:fs/promises";
import type { Catalog } from "../catalog/catalog.js";
import { StateOwner } from "../catalog/state-owner.js";
import type { MountConfig } from "../config/config.js";
import { MIB } from "../domain/bytes.js";
import { describeError, UsageError } from "../domain/errors.js";
import type { Observer } from "../domain/events.js";
import type { InodeNumber, VaultName } from "../domain/ids.js";
import { rootIno } from "../domain/ids.js";
import { seconds } from "../domain/time.js";
import type { FuseDriver, FuseSession } from "../fuse/driver.js";
import { kernelDriver } from "../fuse/kernel/kernel-driver.js";
import { nativeDriver } from "../fuse/native/native-driver.js";
import { FileSystemOperations } from "../fuse/operations.js";
import { SucceedingOperations } from "../fuse/succeeding-operations.js";
import { formatDuration } from "../lib/amount-text.js";
import { AsyncStack } from "../lib/async-stack.js";
import { makeDirectoryDurably } from "../lib/durable-file.js";
import type { Metrics } from "../observability/metrics.js";
import { planStream } from "../upload/part-plan.js";
import { FileSystem } from "../vfs/filesystem.js";
import type { FileSystemSettings } from "../vfs/settings.js";
import { listenForCallbacks } from "./callback-listener.js";
import { commitEffects } from "./commit-effects.js";
import { serveControl } from "./control-server.js";
import { controlSocketPath } from "./control-socket.js";
import { fileHolders } from "./file-holders.js";
import { firstContact } from "./first-contact.js";
import { FormerProcess } from "./former-process.js";
import { KernelMemory } from "./kernel-memory.js";
import { ledgerMeter } from "./ledger-meter.js";
import { serveMetrics } from "./metrics-server.js";
import { MountControl } from "./mount-control.js";
import { MountPaths } from "./mount-paths.js";
import { createPipelines, type MountPipelines } from "./mount-pipelines.js";
import { mountSource } from "./mount-source.js";
import { type MountStorage, openStorage, syncStaged } from "./mount-storage.js";
import { processTable } from "./process-names.js";
import { openService, type ServiceStack } from "./service-stack.js";
import { recoverStaging } from "./staging-recovery.js";
import { systemClock } from "./system-clock.js";
import { VaultWatch } from "./vault-watch.js";

export interface RunMountOptions {
  readonly mountpoint: string;
  readonly observer: Observer;
  /** The device of a mount at `mountpoint` that another process holds, too; without it this one mounts. */
  readonly device?: {
    readonly fileDescriptor: number;
    /** How many processes have served it before. */
    readonly generation: number;
  };
  /** Its abort asks for an orderly unmount. */
  readonly signal: AbortSignal;
  readonly onReady: (info: {
    readonly mountpoint: string;
    readonly endpoint: string;
    readonly dataDirectory: string | null;
    readonly stateDirectory: string;
    /** `HOST:PORT` of `--metrics`; null without. */
    readonly metricsAddress: string | null;
  }) => void;
}

/** Everything that a mount is made of, before the kernel knows of it. */
interface MountParts {
  readonly config: MountConfig;
  readonly options: RunMountOptions;
  readonly stack: ServiceStack;
  readonly storage: MountStorage;
  readonly pipelines: MountPipelines;
  readonly watch: VaultWatch;
  readonly fileSystem: FileSystem;
  readonly kernel: KernelMemory;
}

const vaultTimeoutMs = seconds(10);

/**
 * Resolves when the file system is unmounted, by the signal or by somebody else, and all has been stopped.
 *
 * @throws CasfsError when it cannot start: service, state directory or mountpoint cannot be used.
 */
export async function runMount(config: MountConfig, given: RunMountOptions): Promise<void> {
  await using stopping = new AsyncStack();
  const { stateDirectory } = config;
  const metrics = config.metrics === undefined ? undefined : await makeMetrics();
  const options = metrics === undefined ? given : { ...given, observer: both(given.observer, metrics.observer) };
  await makeStateDirectory(stateDirectory);
  stopping.use(await StateOwner.claim(stateDirectory, options.mountpoint));
  const stack = stopping.use(await openService(config, options.observer));
  const parts = await assemble(config, options, stack, stopping);
  const metricsAddress = metrics && (await startMetrics(metrics, parts, stopping));
  const session = await start(parts, stopping);
  options.onReady({
    metricsAddress: metricsAddress ?? null,
    mountpoint: options.mountpoint,
    endpoint: stack.endpoint,
    dataDirectory: stack.dataDirectory,
    stateDirectory,
  });
  options.observer({ type: "mounted", mountpoint: options.mountpoint });
  await ended(session, options);
  options.observer({ type: "unmounted", mountpoint: options.mountpoint });
}

/** Most mounts have none, and starting one would take a tenth longer with the library that it needs. */
async function makeMetrics(): Promise<Metrics> {
  const { Metrics } = await import("../observability/metrics.js");
  return new Metrics();
}

function both(one: Observer, other: Observer): Observer {
  return (event) => {
    one(event);
    other(event);
  };
}

/** @returns where they are served. */
async function startMetrics(metrics: Metrics, parts: MountParts, stopping: AsyncStack): Promise<string> {
  const { storage, pipelines, fileSystem, config } = parts;
  metrics.watch({
    stagedBytes: () => storage.budget.usage().usedBytes,
    pendingUploads: () => pipelines.uploads.size,
    cacheBytes: () => storage.cache.usage().usedBytes,
    runningRecalls: () => pipelines.recalls.snapshot().length,
    waitingWriters: () => fileSystem.room.waiting().length,
  });
  return stopping.use(await serveMetrics(config.metrics!, metrics)).address;
}

/** Connects the parts; nothing of them runs yet. */
async function assemble(
  config: MountConfig,
  options: RunMountOptions,
  stack: ServiceStack,
  stopping: AsyncStack,
): Promise<MountParts> {
  const { observer } = options;
  const kernel = new KernelMemory();
  const storage = await openStorage(config, { binding: stack.binding, kernel, observer }, stopping);
  const pipelines = createPipelines(
    config,
    { service: stack.service, storage, observer, isFree: stack.dataDirectory !== null },
    stopping,
  );
  const watch = new VaultWatch({
    catalog: storage.catalog,
    inventories: pipelines.inventories,
    clock: systemClock,
    observer,
    maxAgeMs: config.inventoryMaxAge,
    onVaultFound: (name) => kernel.nameAppeared(rootIno, name),
  });
  stopping.defer(() => watch.close());
  const fileSystem = new FileSystem({
    ...storage,
    ...pipelines,
    service: stack.service,
    processes: processTable(),
    holders: fileHolders(await realPathOf(options.mountpoint)),
    clock: systemClock,
    observer,
    settings: settingsOf(config),
    inventoryState: (vault) => inventoryState(storage.catalog, vault),
    onVaultFound: (vault) => watch.refresh(vault),
  });
  stopping.defer(async () => fileSystem.close());
  stack.meter(ledgerMeter(storage.catalog));
  storage.catalog.setListener(commitEffects({ storage, pipelines, kernel, observer }));
  return { config, options, stack, storage, pipelines, watch, fileSystem, kernel };
}

/** Brings the disk in order, mounts, and lets the pipelines run. */
async function start(parts: MountParts, stopping: AsyncStack): Promise<FuseSession> {
  const { stack, storage, pipelines, watch, fileSystem, kernel } = parts;
  const { catalog } = storage;
  const { observer } = parts.options;
  const isSuccessor = (parts.options.device?.generation ?? 0) > 0;
  const former = isSuccessor ? FormerProcess.before(catalog) : undefined;
  await recoverStaging({ ...storage, observer, stagingPath: storage.layout.stagingDirectory });
  former?.forgetIn(kernel);
  await fileSystem.removeOrphans();
  await firstContact(stack, { catalog, watch, observer });
  const root = rootOf(parts.config, catalog);
  const socketPath = controlSocketPath(parts.config.stateDirectory);
  const socket = await serveControl({ socketPath, api: controlOf(parts, root) });
  stopping.defer(() => socket.close());
  const { callback } = parts.config;
  if (callback !== undefined) {
    stopping.use(await listenForCallbacks(callback, (vault) => pipelines.poller.nudge(vault)));
  }
  const session = await mountFileSystem(parts, root, former?.cutOff());
  kernel.attach(session, { remembers: isSuccessor });
  stopping.defer(() => syncStaged(storage, observer));
  pipelines.uploads.start();
  pipelines.recalls.resume();
  pipelines.deleter.wake();
  pipelines.purger.wake();
  watch.start(stack.service);
  pipelines.abandoned.wake();
  return session;
}

/** The driver fuse-native never hears that a caller has given up, so its waits have an end. */
const nativeDeadlineMs = seconds(60);

function driverOf(config: MountConfig, observer: Observer): FuseDriver {
  const onError = (operation: string, inode: InodeNumber, error: unknown) =>
    observer({ type: "request-failed", operation, inode, message: describeError(error) });
  if (config.driver === "kernel") {
    return kernelDriver({ onError, onWarning: (message) => observer({ type: "warning", message }) });
  }
  const deadlineMs = config.maxWait ?? nativeDeadlineMs;
  const afterMs = formatDuration(deadlineMs);
  const message = `The driver fuse-native does not hear of Ctrl-C: an open that waits for a recall fails with EAGAIN after ${afterMs}`;
  observer({ type: "warning", message });
  return nativeDriver({ deadlineMs, onError });
}

/** @param cutOff Given to a successor: files that are not as their writers left them. */
function mountFileSystem(
  { config, options, storage, fileSystem }: MountParts,
  root: InodeNumber,
  cutOff: ReadonlySet<InodeNumber> | undefined,
): Promise<FuseSession> {
  const { mountpoint, observer, device } = options;
  const { allowOther, readOnly } = config;
  const parts = { fileSystem, root, readOnly, observer };
  const source = mountSource(config.stateDirectory);
  const place = { mountpoint, source, allowOther, readOnly };
  const driver = driverOf(config, observer);
  if (device === undefined) return driver.mount(place, new FileSystemOperations(parts));
  const { fileDescriptor, generation } = device;
  if (cutOff === undefined) {
    return driver.mount({ ...place, device: { fileDescriptor, former: undefined } }, new FileSystemOperations(parts));
  }
  const former = { privilegedModes: storage.catalog.privilegedModes() };
  const operations = new SucceedingOperations({ ...parts, generation, wasCutOff: (ino) => cutOff.has(ino) });
  return driver.mount({ ...place, device: { fileDescriptor, former } }, operations);
}

function controlOf(parts: MountParts, root: InodeNumber): MountControl {
  const { config, options, stack, storage, fileSystem, kernel } = parts;
  return new MountControl({
    ...storage,
    ...parts.pipelines,
    fileSystem,
    paths: new MountPaths(storage.catalog, root),
    dropDamaged: async (archive) => {
      const pinned = storage.cache.isPinned(archive);
      await storage.cache.dropDamaged(archive);
      if (pinned) await storage.cache.setPinned(archive, true);
      kernel.bytesChanged(storage.catalog.contents.inodeOfArchive(archive));
    },
    clock: systemClock,
    observer: options.observer,
    tier: config.tier,
    partialOverBytes: config.partialRecall ?? null,
    prices: config.prices,
    vault: config.vault ?? null,
    cacheBytesMax: config.cacheSize,
    uploadPatienceMs: config.stallTimeout,
    isGone: (vault) => parts.watch.isGone(vault),
    about: {
      mountpoint: options.mountpoint,
      pid: process.pid,
      stateDirectory: config.stateDirectory,
      service: {
        endpoint: stack.endpoint,
        local: stack.dataDirectory !== null,
        dataDirectory: stack.dataDirectory,
      },
    },
  });
}

function settingsOf(config: MountConfig): FileSystemSettings {
  return {
    onCold: config.onCold,
    maxWaitMs: config.maxWait ?? null,
    nonblockRecall: config.nonblockRecall,
    tier: config.tier,
    recallAhead: config.recallAhead,
    partialRecall: partialRecallOf(config),
    recallDeny: config.recallDeny,
    commit: config.commit,
    settleMs: config.settle,
    rewriteIntervalMs: config.rewriteInterval,
    isTemporary: config.temporary,
    stallTimeoutMs: config.stallTimeout,
    partialTree: config.partialTree,
    stream: planStream({
      stagingBytes: config.stagingSize ?? null,
      sizeBytesMax: config.streamMaxSize,
      thresholdBytes: config.streamThreshold,
    }),
    vaultTimeoutMs,
  };
}

/** Several windows of one file, and other files, have room beside each other. */
function partialRecallOf({ partialRecall, cacheSize }: MountConfig): FileSystemSettings["partialRecall"] {
  if (partialRecall === undefined) return null;
  const windowBytesMax = Math.max(MIB, 2 ** Math.floor(Math.log2(Math.max(1, cacheSize / 4))));
  return { overBytes: partialRecall, windowBytesMax };
}

/** For people: `user.casfs.state` of a vault's directory. */
function inventoryState(catalog: Catalog, vault: VaultName): string {
  const held = catalog.heldBecause(vault);
  if (held !== undefined) return `read-only: ${held.message}`;
  if (catalog.vault(vault)?.visibility === "visible") return "visible";
  const { error } = catalog.vaultTable.inventoryState(vault);
  return error === null ? "awaiting inventory" : `awaiting inventory: ${error}`;
}

/** Waits for the unmount, whoever asks for it. A busy mount is detached: its users keep what they have open. */
async function ended(session: FuseSession, { signal, observer }: RunMountOptions): Promise<void> {
  const onAbort = () => {
    session.unmount({ lazy: false }).catch((error: unknown) => {
      observer({ type: "warning", message: `${describeError(error)}; detaching it` });
      session.unmount({ lazy: true }).catch(() => {});
    });
  };
  if (signal.aborted) onAbort();
  else signal.addEventListener("abort", onAbort, { once: true });
  try {
    await session.closed;
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}

function rootOf(config: MountConfig, catalog: Catalog): InodeNumber {
  if (config.vault === undefined) return rootIno;
  const vault = catalog.vault(config.vault);
  if (vault !== undefined) return vault.ino;
  throw new UsageError(`Cannot mount vault ${config.vault}: the service has no such vault`, {
    hint: "Mount without --vault and create it with mkdir",
  });
}

/** As the kernel's list of mounts will call it. */
async function realPathOf(mountpoint: string): Promise<string> {
  return realpath(mountpoint).catch(() => mountpoint);
}

async function makeStateDirectory(path: string): Promise<void> {
  try {
    await makeDirectoryDurably(path);
    await access(path, constants.W_OK);
  } catch (error) {
    throw new UsageError(`Cannot use state directory ${path}: ${describeError(error)}`, {
      hint: "It holds catalog, staged files and cache, and must be writable; --state DIR takes another",
    });
  }
}
