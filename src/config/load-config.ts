/**
 * Collects what the user chose: flags > `CASFS_*` variables > `casfs.toml` > what `cascmd` has saved > defaults.
 *
 * Relies on: `config.ts` knows every name and type. Never: starts anything or creates a directory.
 * Every failure is a `UsageError` that names the place of the wrong value; values of secrets are not repeated.
 */

import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { homedir } from "node:os";
import { basename, dirname, isAbsolute, join, resolve } from "node:path";
import { parse as parseToml, TomlError } from "smol-toml";
import { z } from "zod";
import { UsageError } from "../domain/errors.js";
import type { PriceTable } from "../protocol/prices.js";
import { readCascmdCredentials } from "./cascmd-credentials.js";
import {
  isUrl,
  type MountConfig,
  mountShape,
  type ObjectStoreSetting,
  type ServeConfig,
  type ServiceChoice,
  type ServiceConfig,
  serveShape,
  serviceShape,
  transferShape,
} from "./config.js";
import { type Credentials, refuseWorldReadable } from "./credentials.js";
import { priceShape, priceTable } from "./price-settings.js";
import { optionName, optionsOf, type SettingsShape, variableName } from "./setting.js";
import { editDistance, nearestWord } from "./suggestion.js";

/** Everything that decides a configuration, so that tests can give their own. */
export interface ConfigSources {
  /** By key (`onCold`) or name (`on-cold`); undefined means not given. `config` is the path of a TOML file. */
  readonly flags: Readonly<Record<string, unknown>>;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly home: string;
  readonly currentDirectory: string;
}

/** The sources of this process, with the flags that the command line found. */
export function processSources(flags: Readonly<Record<string, unknown>>): ConfigSources {
  return { flags, environment: process.env, home: homedir(), currentDirectory: process.cwd() };
}

/** @throws UsageError for unknown names, unusable values, missing keys and unreadable files. */
export async function loadMountConfig(sources: ConfigSources): Promise<MountConfig> {
  const layers = await readLayers(sources, mountShape, mountTables);
  const { endpoint, appId, secretId, secretKey, local, state, ...rest } = parseSettings(mountShape, layers);
  if (rest.partialRecall !== undefined && rest.driver === "fuse-native") {
    throw new UsageError("Cannot use --partial-recall with the driver fuse-native: its reads cannot wait", {
      hint: "Mount with --driver kernel, or without --partial-recall",
    });
  }
  const service = await chooseService(layers, sources);
  const stateDirectory = state ?? join(stateHome(sources), stateName(service));
  return { ...rest, service, stateDirectory, prices: await loadPrices(sources) };
}

/** For commands that use the service of a mount without mounting it. @throws UsageError like `loadMountConfig`. */
export async function loadServiceConfig(sources: ConfigSources): Promise<ServiceConfig> {
  const layers = await readLayers(sources, mountShape, mountTables);
  const transfers = parseSettings(transferShape, layers);
  const service = await chooseService(layers, sources);
  const uploadsDirectory = join(stateHome(sources), "uploads");
  return { ...transfers, service, uploadsDirectory, prices: await loadPrices(sources) };
}

/** Prices stand in the table `[prices]` of `casfs.toml` and nowhere else. */
async function loadPrices(sources: ConfigSources): Promise<PriceTable> {
  const select = (file: TomlTable) => tableOf(file, "prices");
  const layer = await fileLayer({ configFlag: sources.flags.config, shape: priceShape, select, sources });
  return priceTable(parseSettings(priceShape, layer === undefined ? [] : [layer]));
}

/** Options of the service stand in the table `[serve]` of `casfs.toml`. @throws UsageError like `loadMountConfig`. */
export async function loadServeConfig(sources: ConfigSources): Promise<ServeConfig> {
  const layers = await readLayers(sources, serveShape, (file) => tableOf(file, "serve"));
  const settings = parseSettings(serveShape, layers);
  const { data, appId, secretId, secretKey, objectStoreId, objectStoreKey, objectStoreRegion, ...rest } = settings;
  if ((secretId === undefined) !== (secretKey === undefined)) {
    throw new UsageError(`Cannot use only ${secretId === undefined ? "a secret key" : "a secret id"}`, {
      hint: "Give both --secret-id and --secret-key, or neither",
    });
  }
  const credentials = secretId !== undefined && secretKey !== undefined ? { appId, secretId, secretKey } : undefined;
  const objectStore = chooseObjectStore(settings);
  return { ...rest, dataDirectory: data ?? dataHome(sources), credentials, objectStore };
}

function chooseObjectStore(settings: {
  readonly objectStore?: string | undefined;
  readonly objectStoreId?: string | undefined;
  readonly objectStoreKey?: string | undefined;
  readonly objectStoreRegion: string;
}): ObjectStoreSetting | undefined {
  const { objectStore: place, objectStoreId: keyId, objectStoreKey: key, objectStoreRegion: region } = settings;
  if (place === undefined) return undefined;
  if (!isUrl(place)) return { kind: "directory", directory: place };
  if (keyId === undefined || key === undefined) {
    throw new UsageError(`Cannot use the object store ${place} without an access key`, {
      hint: `Set ${variableName("objectStoreId")} and ${variableName("objectStoreKey")}`,
    });
  }
  return { kind: "s3", endpoint: place, region, keyId, key };
}

/** What in `casfs.toml` is not of the service alone, and no price. */
const mountTables = (file: TomlTable) => omit(omit(file, "serve"), "prices");

/** The values of one source, by key, and how a user knows them. */
interface Layer {
  readonly values: ReadonlyMap<string, unknown>;
  readonly nameOf: (key: string) => string;
}

type TomlTable = Readonly<Record<string, unknown>>;

const pathKeys = new Set(["local", "state", "data", "accounts", "objectStore"]);
const secretKeys = new Set(["secretKey", "objectStoreKey"]);
/** Variables that are no option of a command: the file to read. */
const otherVariables = ["CASFS_CONFIG"];

async function readLayers(
  sources: ConfigSources,
  shape: SettingsShape,
  select: (file: TomlTable) => TomlTable,
): Promise<Layer[]> {
  const { config: configFlag, ...flags } = sources.flags;
  refuseMistypedVariables(sources.environment);
  const layers = [
    flagLayer(flags, shape, sources),
    variableLayer(sources.environment, shape, sources),
    await fileLayer({ configFlag, shape, select, sources }),
  ];
  return layers.filter((layer) => layer !== undefined);
}

function flagLayer(flags: TomlTable, shape: SettingsShape, sources: ConfigSources): Layer {
  const nameOf = (key: string) => `--${optionName(key)}`;
  return { values: valuesByKey(flags, { shape, nameOf, base: sources.currentDirectory, home: sources.home }), nameOf };
}

function variableLayer(environment: ConfigSources["environment"], shape: SettingsShape, sources: ConfigSources): Layer {
  const given = Object.keys(shape).flatMap((key) => {
    const value = environment[variableName(key)];
    return value === undefined || value === "" ? [] : [[key, value] as const];
  });
  const { currentDirectory: base, home } = sources;
  return {
    values: valuesByKey(Object.fromEntries(given), { shape, nameOf: variableName, base, home }),
    nameOf: variableName,
  };
}

async function fileLayer(options: {
  readonly configFlag: unknown;
  readonly shape: SettingsShape;
  readonly select: (file: TomlTable) => TomlTable;
  readonly sources: ConfigSources;
}): Promise<Layer | undefined> {
  const { configFlag, shape, select, sources } = options;
  const named = configFlag ?? (sources.environment.CASFS_CONFIG || undefined);
  const path = resolve(sources.currentDirectory, named === undefined ? configFile(sources) : String(named));
  const file = await readToml(path, { required: named !== undefined });
  if (file === undefined) return undefined;
  const nameOf = (key: string) => `${optionName(key)} in ${path}`;
  const values = valuesByKey(select(file), { shape, nameOf, base: dirname(path), home: sources.home });
  if (holdsSecret(file)) await refuseWorldReadable(path);
  return { values, nameOf };
}

function holdsSecret(file: TomlTable): boolean {
  const names = [...secretKeys].flatMap((key) => [key, optionName(key)]);
  const tables = [file, ...Object.values(file).filter(isTable)];
  return tables.some((table) => names.some((name) => Object.hasOwn(table, name)));
}

async function readToml(path: string, { required }: { readonly required: boolean }): Promise<TomlTable | undefined> {
  let content: string;
  try {
    content = await readFile(path, "utf8");
  } catch (cause) {
    if (!required && (cause as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw new UsageError(`Cannot read ${path}`, { cause });
  }
  try {
    return parseToml(content);
  } catch (error) {
    // The parser's message quotes the lines around the mistake, which may hold the secret key: only the place is told.
    const place = error instanceof TomlError ? `, line ${error.line}, column ${error.column}` : "";
    throw new UsageError(`Cannot read ${path}${place}: it is not valid TOML`);
  }
}

/** Accepts keys and names, refuses what no option has, resolves paths against the place where they were written. */
function valuesByKey(
  given: TomlTable,
  options: {
    readonly shape: SettingsShape;
    readonly nameOf: (key: string) => string;
    readonly base: string;
    readonly home: string;
  },
): Map<string, unknown> {
  const keyByName = new Map(
    optionsOf(options.shape).flatMap(({ key, name }) => [[key, key] as const, [name, key] as const]),
  );
  const values = new Map<string, unknown>();
  for (const [name, value] of Object.entries(given)) {
    if (value === undefined) continue;
    const key = keyByName.get(name);
    if (key === undefined) throw unknownOption(name, options);
    values.set(key, pathKeys.has(key) && typeof value === "string" ? resolvePath(value, options) : value);
  }
  return values;
}

function unknownOption(
  name: string,
  { shape, nameOf }: { readonly shape: SettingsShape; readonly nameOf: (key: string) => string },
): UsageError {
  const near = nearestWord(
    optionName(name),
    optionsOf(shape).map((option) => option.name),
  );
  return new UsageError(
    `Cannot use ${nameOf(name)}: there is no such option`,
    near === undefined ? {} : { hint: `Did you mean ${near}?` },
  );
}

/** A variable of another program may begin with CASFS_ too; one that is nearly an option is a slip of the finger. */
function refuseMistypedVariables(environment: ConfigSources["environment"]): void {
  const known = [...Object.keys(mountShape), ...Object.keys(serveShape)].map(variableName).concat(otherVariables);
  for (const name of Object.keys(environment)) {
    if (!name.startsWith("CASFS_") || known.includes(name)) continue;
    const near = nearestWord(name, known);
    if (near === undefined || editDistance(name, near) > 2) continue;
    throw new UsageError(`Cannot use the variable ${name}: there is no such option`, { hint: `Did you mean ${near}?` });
  }
}

function resolvePath(path: string, { base, home }: { readonly base: string; readonly home: string }): string {
  if (isUrl(path)) return path;
  if (path === "~" || path.startsWith("~/")) return join(home, path.slice(1));
  return path === "" ? path : resolve(base, path);
}

function parseSettings<S extends SettingsShape>(shape: S, layers: readonly Layer[]): z.output<z.ZodObject<S>> {
  const values: Record<string, unknown> = {};
  for (const key of Object.keys(shape)) {
    const layer = firstLayerWith(layers, [key]);
    if (layer !== undefined) values[key] = layer.values.get(key);
  }
  const result = z.object(shape).safeParse(values);
  if (result.success) return result.data;
  const issue = result.error.issues[0]!;
  const key = String(issue.path[0]);
  const name = firstLayerWith(layers, [key])?.nameOf(key) ?? optionName(key);
  const value = secretKeys.has(key) ? "the value" : JSON.stringify(values[key]);
  throw new UsageError(`Cannot use ${value} for ${name}: ${issue.message}`);
}

function firstLayerWith(layers: readonly Layer[], keys: readonly string[]): Layer | undefined {
  return layers.find((layer) => keys.some((key) => layer.values.has(key)));
}

/** The first source that says where the service is decides; without any, it is the one of this machine. */
async function chooseService(given: readonly Layer[], sources: ConfigSources): Promise<ServiceChoice> {
  const layers = [...given, ...(await cascmdLayers(given, sources))];
  const { endpoint, local, ...key } = parseSettings(serviceShape, layers);
  const chosen = firstLayerWith(layers, ["endpoint", "local"]);
  if (chosen?.values.has("endpoint") && chosen.values.has("local")) {
    throw new UsageError(`Cannot use both ${chosen.nameOf("endpoint")} and ${chosen.nameOf("local")}`, {
      hint: "Give the one that says where the vaults are",
    });
  }
  return endpoint !== undefined && chosen?.values.has("endpoint")
    ? { kind: "remote", endpoint, credentials: remoteCredentials(endpoint, key) }
    : { kind: "local", directory: local ?? dataHome(sources) };
}

/** What `cascmd config` has saved, for who says nothing else, or means the same service and gives no key. */
async function cascmdLayers(given: readonly Layer[], { home }: ConfigSources): Promise<Layer[]> {
  const chosen = firstLayerWith(given, ["endpoint", "local"]);
  if (chosen?.values.has("local")) return [];
  const file = await readCascmdCredentials(home);
  if (file === undefined) return [];
  const { path, ...saved } = file;
  const endpoint = parseSettings({ endpoint: serviceShape.endpoint }, given).endpoint;
  // A key goes to no other service than the one it was saved for.
  if (endpoint !== undefined && endpoint !== saved.endpoint) return [];
  if (firstLayerWith(given, ["secretKey"]) === undefined) await refuseWorldReadable(path);
  return [{ values: new Map(Object.entries(saved)), nameOf: (key) => `${key.toLowerCase()} in ${path}` }];
}

function remoteCredentials(
  endpoint: string,
  {
    appId,
    secretId,
    secretKey,
  }: { readonly appId: string; readonly secretId?: string | undefined; readonly secretKey?: string | undefined },
): Credentials {
  if (secretId !== undefined && secretKey !== undefined) return { appId, secretId, secretKey };
  const missing = [secretId === undefined ? "secretId" : [], secretKey === undefined ? "secretKey" : []].flat();
  throw new UsageError(
    `Cannot use ${endpoint} without an access key: ${missing.map(optionName).join(" and ")} missing`,
    {
      hint: `Set ${missing.map(variableName).join(" and ")}, or put ${missing.map(optionName).join(" and ")} into casfs.toml`,
    },
  );
}

/** A directory name that tells people which service it belongs to, and differs when the service does. */
function stateName(service: ServiceChoice): string {
  if (service.kind === "local") {
    const { directory } = service;
    return `local-${safeName(basename(directory) || "root")}-${shortDigest(directory)}`;
  }
  const { endpoint, credentials } = service;
  // Without a number only the key tells accounts apart; with one, a new key of the account keeps its state.
  const account = credentials.appId === "-" ? credentials.secretId : credentials.appId;
  return `${safeName(new URL(endpoint).host)}-${shortDigest(`${endpoint} ${account}`)}`;
}

const safeName = (text: string) => text.replace(/[^A-Za-z0-9._-]/g, "_");
const shortDigest = (text: string) => createHash("sha256").update(text).digest("hex").slice(0, 8);

const dataHome = (sources: ConfigSources) => join(xdg(sources, "XDG_DATA_HOME", ".local/share"), "casfs");
const stateHome = (sources: ConfigSources) => join(xdg(sources, "XDG_STATE_HOME", ".local/state"), "casfs");
const configFile = (sources: ConfigSources) => join(xdg(sources, "XDG_CONFIG_HOME", ".config"), "casfs", "casfs.toml");

/** The XDG base directory specification tells to ignore a relative path. */
function xdg({ environment, home }: ConfigSources, variable: string, fallback: string): string {
  const value = environment[variable];
  return value !== undefined && isAbsolute(value) ? value : join(home, fallback);
}

function tableOf(file: TomlTable, name: string): TomlTable {
  const table = file[name] ?? {};
  if (!isTable(table))
    throw new UsageError(`Cannot use ${name} in casfs.toml: it must be a table, written as [${name}]`);
  return table;
}

function isTable(value: unknown): value is TomlTable {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Date);
}

function omit(table: TomlTable, name: string): TomlTable {
  return Object.fromEntries(Object.entries(table).filter(([key]) => key !== name));
}
