/**
 * What a user can choose: every option of `casfs mount` and `casfs serve`, with its type and default.
 *
 * The same names serve as flags, as `CASFS_*` variables, in `casfs.toml` and as `-o` options; `load-config.ts` collects
 * them. Never: reads a file or the environment.
 */

import { z } from "zod";
import { byteCount, GIB, MIB } from "../domain/bytes.js";
import { isVaultName, type VaultName } from "../domain/ids.js";
import type { Milliseconds } from "../domain/time.js";
import { HostAllowance } from "../lib/host-allowance.js";
import { archiveSizeBytesMax, partSizeBytesMax, partSizeBytesMin, singleUploadBytesMax } from "../protocol/limits.js";
import type { PriceTable } from "../protocol/prices.js";
import { type RetrievalTier, retrievalTiers } from "../protocol/service.js";
import type { Credentials } from "./credentials.js";
import { parseNamePatterns } from "./name-patterns.js";
import { parseProcessRules } from "./process-rules.js";
import { parseByteLimit, parseCostLimit } from "./recall-limits.js";
import { choice, custom, duration, octal, size, text, toggle, whole } from "./setting.js";
import { parseDuration } from "./units.js";

const logLevels = ["silent", "error", "warn", "info", "debug"] as const;
export type LogLevel = (typeof logLevels)[number];

const largestId = 4_294_967_294;

const endpoint = (help: string) => custom("URL", help, parseEndpoint);
const vault = (help: string) => custom("NAME", help, parseVault);

/** Where the archive service is and whose key is used: the same for a mount and for every command that talks to it. */
export const serviceShape = {
  endpoint: endpoint("the archive service, such as http://cas.ap-chengdu.myqcloud.com").optional(),
  appId: text("ID", "account number at the service; - means the key's own").prefault("-"),
  secretId: text("ID", "public half of the access key").optional(),
  secretKey: text("KEY", "secret half of the access key; better given by CASFS_SECRET_KEY or casfs.toml").optional(),
  local: text("DIR", "use the service of this machine, on DIR (without an endpoint: ~/.local/share/casfs)").optional(),
} as const;

/** How archives are sent and fetched, for a mount and for `casfs archive` alike. */
export const transferShape = {
  tier: choice(retrievalTiers, "retrieval tier of recalls").prefault("standard"),
  multipartThreshold: custom(
    "SIZE",
    "files above this, and above 16MiB, are uploaded in parts",
    parseMultipartThreshold,
  ).prefault("100MiB"),
  partSize: custom(
    "SIZE",
    "size of a part; 1MiB times a power of two, less than 16MiB counts as 16MiB",
    parsePartSize,
  ).prefault("16MiB"),
  parallel: whole("N", { from: 1, to: 64 }, "parts sent or fetched at the same time").prefault("4"),
} as const;

/** What rsync, browsers, editors and NFS call a file that is not done yet. */
const temporaryNames = [
  ".*.??????",
  ".~tmp~/",
  "*.part",
  "*.partial",
  "*.crdownload",
  "*.swp",
  "*.swx",
  ".nfs*",
  ".#*",
  "~$*",
  ".goutputstream-*",
  ".fuse_hidden*",
];

/** The options of `casfs mount`. A default is written as a user would write it. */
export const mountShape = {
  ...serviceShape,
  state: text("DIR", "where catalog, staged files and cache are").optional(),
  vault: vault("mount the content of this one vault").optional(),
  onCold: choice(["block", "eagain", "deny"], "what opening a cold file does").prefault("block"),
  maxWait: duration("how long an open waits for a recall before EAGAIN; without it, as long as it takes").optional(),
  commit: choice(["staged", "archived"], "what close() waits for: the local disk, or the vault").prefault("staged"),
  settle: duration("how long a closed file rests before its upload").prefault("2s"),
  rewriteInterval: duration("how long the next version of a file that was just archived waits").prefault("1h"),
  temporary: custom(
    "PATTERN,...",
    "names of files that will be renamed or removed: they settle for 24h; `none` for no file",
    parseNamePatterns,
  ).prefault(temporaryNames.join(",")),
  trash: toggle("keep what is deleted or overwritten in .trash of its vault while it costs nothing").prefault("true"),
  cacheSize: size("bytes of recalled and uploaded content to keep").prefault("10GiB"),
  // No limit of its own by default: a staged file costs disk alone, and the disk has --keep-free.
  stagingSize: custom(
    "SIZE",
    "bytes of files not archived yet at which writers wait for uploads; without it only --keep-free bounds them",
    parseStagingSize,
  ).optional(),
  streamThreshold: size(
    "a file that outgrows this while it is written begins its upload at once (default: half of --staging-size)",
  ).optional(),
  streamMaxSize: custom(
    "SIZE",
    "the largest file that may outgrow staging, at most 40000GiB; its parts are chosen for that",
    parseStreamMaxSize,
  ).prefault("4TiB"),
  stallTimeout: duration(
    "how long a writer waits for room while no upload makes progress; then it gets ENOSPC",
  ).prefault("60s"),
  keepFree: size("bytes of the local disk to leave to others").prefault("1GiB"),
  ...transferShape,
  partialTree: toggle(
    "show vaults before their first inventory has landed; `rsync --delete` takes what is not shown for deleted",
  ).prefault("false"),
  inventoryMaxAge: duration("order a new inventory of a vault when the last is older").prefault("24h"),
  nonblockRecall: toggle("let an open with O_NONBLOCK start a recall").prefault("false"),
  callback: custom(
    "URL",
    "where the service reaches this machine, as http://HOST:PORT/PATH: jobs report their end there instead of being asked for",
    parseCallback,
  ).optional(),
  partialRecall: size(
    "of files larger than this, opened for reading, recall only what is read, and more and more while it is read on",
  ).optional(),
  recallAhead: whole("N", { from: 0, to: 10_000 }, "recall the next N files of the directory with a cold one").prefault(
    "0",
  ),
  recallKeep: duration("how long recalled content is kept for its first reader").prefault("48h"),
  recallLimit: custom(
    "SIZE/PERIOD",
    "what opens may recall in an hour, day, week, month (30 days) or duration; beyond it EDQUOT; or none",
    parseByteLimit,
  ).prefault("10GiB/day"),
  recallCostLimit: custom(
    "AMOUNT/PERIOD",
    "what the retrievals of opens may cost, at the prices of [prices] in casfs.toml; or none",
    parseCostLimit,
  ).prefault("none"),
  recallDeny: custom(
    "NAME,...",
    "programs, and users as uid:1000, whose opens recall nothing (EDQUOT); `default`: indexers and the like; or none",
    parseProcessRules,
  ).prefault("default"),
  allowOther: toggle("let other users use the mount").prefault("false"),
  readOnly: toggle("refuse every change").prefault("false"),
  uid: whole("UID", { from: 0, to: largestId }, "owner of entries that record none").optional(),
  gid: whole("GID", { from: 0, to: largestId }, "group of entries that record none").optional(),
  umask: octal("permissions that entries which record none do not have").prefault("022"),
  metrics: custom(
    "HOST:PORT",
    "serve metrics for Prometheus at /metrics; port 0 takes a free one",
    parseListen,
  ).optional(),
  logLevel: choice(logLevels, "how much standard error tells").prefault("info"),
  driver: choice(
    ["kernel", "fuse-native"],
    "how the kernel is spoken to; fuse-native where kernel cannot run",
  ).prefault("kernel"),
  daemon: toggle("return when the mount answers and go on in the background").prefault("false"),
} as const;

/** The options of `casfs serve`. */
export const serveShape = {
  listen: custom("HOST:PORT", "where to listen; port 0 takes a free one", parseListen).prefault("127.0.0.1:8674"),
  data: text("DIR", "where vaults and archives are kept (default: ~/.local/share/casfs)").optional(),
  appId: text("ID", "account number that requests may name").prefault("-"),
  secretId: text("ID", "public half of the access key; made up and kept in DIR when missing").optional(),
  secretKey: text("KEY", "secret half of the access key").optional(),
  accounts: text("FILE", "keys of further accounts, TOML or JSON; read once, when the service starts").optional(),
  region: text("NAME", "region that resource names carry").prefault("local"),
  retrieval: custom("TIER=DURATION,...", "how long jobs take", parseRetrieval).prefault(
    "expedited=1s,standard=2s,bulk=5s,inventory=1s",
  ),
  inventoryInterval: duration("how often a changed vault's inventory is taken; 0s: for every inventory job").prefault(
    "0s",
  ),
  outputLifetime: duration("how long a job's output can be fetched").prefault("24h"),
  uploadLifetime: duration("how long an unfinished upload lives").prefault("24h"),
  lenientPartSize: toggle("take part sizes of any number of MiB, as cascmd may send, not only powers of two").prefault(
    "false",
  ),
  singleUploadMax: custom(
    "SIZE",
    "largest archive that is taken in one request, at most 256GiB",
    parseSingleUploadMax,
  ).prefault("4GiB"),
  notifyHosts: custom(
    "HOST[:PORT],...",
    "hosts that may be notified of completed jobs: names, * for any text, addresses, ranges as 10.0.0.0/8",
    parseHosts,
  ).prefault("127.0.0.0/8,[::1],localhost"),
  objectStore: custom(
    "DIR|URL",
    "what push-to-cos and pull-from-cos copy to and from: a directory, or an S3 endpoint",
    parseObjectStore,
  ).optional(),
  objectStoreId: text("ID", "public half of the key for an S3 endpoint").optional(),
  objectStoreKey: text("KEY", "secret half of that key; only by CASFS_OBJECT_STORE_KEY or casfs.toml").optional(),
  objectStoreRegion: text("NAME", "region that the S3 endpoint wants in signatures").prefault("us-east-1"),
  strictSignature: toggle(
    "refuse signatures that the published client makes but the documentation does not allow",
  ).prefault("false"),
  logLevel: choice(logLevels, "how much standard error tells").prefault("info"),
} as const;

const mountSchema = z.object(mountShape);
const transferSchema = z.object(transferShape);
const serveSchema = z.object(serveShape);

/** The archive service of a mount: somewhere else, or inside this process. */
export type ServiceChoice =
  | { readonly kind: "remote"; readonly endpoint: string; readonly credentials: Credentials }
  | { readonly kind: "local"; readonly directory: string };

type MountSettings = z.output<typeof mountSchema>;

/** What a mount needs to know. Sizes in bytes, durations in milliseconds, places absolute. */
export type MountConfig = Readonly<
  Omit<MountSettings, "endpoint" | "appId" | "secretId" | "secretKey" | "local" | "state"> & {
    service: ServiceChoice;
    stateDirectory: string;
    prices: PriceTable;
  }
>;

/** What a command needs to know that talks to the service without a mount. */
export type ServiceConfig = Readonly<
  z.output<typeof transferSchema> & {
    service: ServiceChoice;
    prices: PriceTable;
    /** Where uploads are remembered until they are complete. */
    uploadsDirectory: string;
  }
>;

/** What the local service needs to know. Without credentials it uses those kept in its data directory. */
export type ServeConfig = Readonly<
  Omit<z.output<typeof serveSchema>, "data" | "appId" | "secretId" | "secretKey" | ObjectStoreKey> & {
    dataDirectory: string;
    credentials: Credentials | undefined;
    objectStore: ObjectStoreSetting | undefined;
  }
>;

type ObjectStoreKey = "objectStore" | "objectStoreId" | "objectStoreKey" | "objectStoreRegion";

/** Where the jobs that copy from and to COS find objects. */
export type ObjectStoreSetting =
  | { readonly kind: "directory"; readonly directory: string }
  | {
      readonly kind: "s3";
      readonly endpoint: string;
      readonly region: string;
      readonly keyId: string;
      readonly key: string;
    };

/** Where a server listens; an IPv6 host without its brackets. */
export interface ListenAddress {
  readonly host: string;
  readonly port: number;
}

/** How long a job of the local service takes. */
export type RetrievalTimes = Readonly<Record<RetrievalTier | "inventory", Milliseconds>>;

function parseEndpoint(value: string): string {
  const url = URL.canParse(value) ? new URL(value) : undefined;
  if (url === undefined || !["http:", "https:"].includes(url.protocol)) {
    throw new RangeError("an endpoint is a URL such as http://cas.ap-chengdu.myqcloud.com");
  }
  if (url.username !== "" || url.password !== "") throw new RangeError("an endpoint must not contain a password");
  if (url.pathname !== "/" || url.search !== "" || url.hash !== "") throw new RangeError("an endpoint has no path");
  return url.origin;
}

/** Patterns of `HostAllowance`, which are checked here so that a slip of the finger is not found out by a lost message. */
function parseHosts(value: string): readonly string[] {
  const patterns = value.split(",").flatMap((pattern) => pattern.trim() || []);
  new HostAllowance(patterns);
  return patterns;
}

/** A URL is normalized, anything else is a path. */
function parseObjectStore(value: string): string {
  if (value === "") throw new RangeError("it must not be empty");
  return isUrl(value) ? parseEndpoint(value) : value;
}

/** Whether an object store is named by a URL; it is a directory otherwise. */
export function isUrl(value: string): boolean {
  return /^https?:\/\//i.test(value);
}

function parseCallback(value: string): string {
  const url = URL.canParse(value) ? new URL(value) : undefined;
  if (url?.protocol !== "http:") throw new RangeError("it must be a URL such as http://HOST:PORT/PATH");
  if (url.username !== "" || url.search !== "" || url.hash !== "")
    throw new RangeError("it is a host and a path, no more");
  return url.href;
}

function parseVault(value: string): VaultName {
  if (!isVaultName(value)) throw new RangeError("a vault name is 1-255 characters of a-z A-Z 0-9 _ - .");
  return value;
}

const sizeParser = size("");

function parseBytes(value: string): number {
  const result = sizeParser.safeParse(value);
  if (!result.success) throw new RangeError(result.error.issues[0]?.message ?? "it must be a size");
  return result.data;
}

function parseSingleUploadMax(value: string) {
  const bytes = parseBytes(value);
  // The hashes of an upload, 32 bytes for each MiB, are kept in memory and in one row.
  if (bytes < 1 || bytes > 256 * GIB) throw new RangeError("it must be between 1 byte and 256GiB");
  return bytes;
}

function parsePartSize(value: string) {
  const bytes = parseBytes(value);
  const powerOfTwo = Number.isInteger(Math.log2(bytes / MIB));
  if (bytes < partSizeBytesMin || bytes > partSizeBytesMax || !powerOfTwo) {
    throw new RangeError("a part is 1MiB times a power of two, from 1MiB to 4GiB");
  }
  return byteCount(bytes);
}

function parseStagingSize(value: string) {
  const bytes = parseBytes(value);
  if (bytes < MIB) throw new RangeError("it must be at least 1MiB, which is what one write may bring");
  return byteCount(bytes);
}

function parseStreamMaxSize(value: string) {
  const bytes = parseBytes(value);
  if (bytes < MIB || bytes > archiveSizeBytesMax) throw new RangeError("it must be a size from 1MiB to 40000GiB");
  return byteCount(bytes);
}

function parseMultipartThreshold(value: string) {
  const bytes = parseBytes(value);
  if (bytes < 1 || bytes > singleUploadBytesMax) throw new RangeError("it must be a size from 1 byte to 4GiB");
  return byteCount(bytes);
}

function parseListen(value: string): ListenAddress {
  const [, bracketed, plain, port] = /^(?:\[([0-9a-fA-F:.]+)\]|([^\s:/]+)):(\d{1,5})$/.exec(value) ?? [];
  const host = bracketed ?? plain;
  if (host === undefined || Number(port) > 65_535) throw new RangeError("it must be HOST:PORT, such as 127.0.0.1:8674");
  return { host, port: Number(port) };
}

const retrievalDefaults: Record<RetrievalTier | "inventory", string> = {
  expedited: "1s",
  standard: "2s",
  bulk: "5s",
  inventory: "1s",
};

/** `bulk=5s,inventory=1s`; what is not named keeps its default. */
function parseRetrieval(value: string): RetrievalTimes {
  const times: Record<string, string> = { ...retrievalDefaults };
  for (const term of value.split(",").filter((part) => part !== "")) {
    const [name = "", time = ""] = term.split("=");
    if (!Object.hasOwn(times, name)) {
      throw new RangeError(`${JSON.stringify(name)} is not one of ${Object.keys(times).join(", ")}`);
    }
    times[name] = time;
  }
  const parsed = Object.entries(times).map(([name, time]) => [name, parseDuration(time)] as const);
  return Object.fromEntries(parsed) as RetrievalTimes;
}
