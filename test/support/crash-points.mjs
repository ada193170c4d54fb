/**
 * Loaded into a casfs process by `node --import`: ends it by SIGKILL at a chosen moment of its work.
 *
 * A moment is the end of a step that outlives the process: a commit of the catalog, named by the tables that it changes,
 * or a call that changes or syncs a file of the state directory. What is true before a step is so after the one before.
 * A request to the service has three: it is about to go, has gone, and its answer has come, before anybody has seen it.
 *
 * The parent (killed-mount.ts) speaks over descriptor 3. Its first message lets the program begin, which until then has only
 * loaded its modules; each says under which heading moments go from then on, and which of them ends the process. That
 * moment's name is written to the file CASFS_MOMENTS.
 * Never: changes what a step does, nor its order.
 */

import diagnostics from "node:diagnostics_channel";
import fs from "node:fs";
import { createRequire, syncBuiltinESMExports } from "node:module";
import { Socket } from "node:net";
import { relative, sep } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import { isMainThread } from "node:worker_threads";
import { matchRoute } from "../../dist/protocol/routes.js";

const state = process.env.CASFS_MOMENTS_STATE;
/** Where syncs are recorded; undefined: nowhere. */
const durable = process.env.CASFS_DURABLE;
const log = fs.openSync(process.env.CASFS_MOMENTS, "a");
const { readlinkSync, writeSync } = fs;

/** What the parent has said last; undefined: nothing ends the process. */
let watch;

/** Ends the process when it is the turn of this moment. */
function moment(step) {
  if (watch === undefined) return;
  const name = `${watch.heading}: ${step}`;
  if (!watch.isDue(step, name)) return;
  writeSync(log, `${name}\n`);
  process.kill(process.pid, "SIGKILL");
  for (;;); // The signal is on its way.
}

/** What a path of the state directory is; undefined for one that is not watched. */
function kindOf(path) {
  if (typeof path === "number") {
    try {
      return kindOf(readlinkSync(`/proc/self/fd/${path}`).replace(/ \(deleted\)$/, ""));
    } catch {
      return undefined;
    }
  }
  const below = relative(state, String(path));
  const parts = below.split(sep);
  if (parts[0] === "staging") return parts.length === 1 ? "the staging directory" : "a staged file";
  if (parts[0] !== "cache") return below === "catalog.db-wal" ? "the log" : undefined;
  if (parts[1] !== "landing") return parts.length === 2 ? "a cache directory" : "a cached file";
  return below.endsWith(".pieces") ? "the pieces of a landing" : "a landing file";
}

function stepOf(verb, path) {
  const kind = kindOf(path);
  return kind && `${verb} ${kind}`;
}

function watchSync(name, verb, { at = 0, when = () => true } = {}) {
  const original = fs[name];
  fs[name] = (...args) => {
    const step = when(...args) ? stepOf(verb, args[at]) : undefined;
    if (step === undefined) return original(...args);
    const result = original(...args);
    moment(step);
    return result;
  };
}

/** At the beginning of a sync: what it will have put on the disk for good. */
function covered(descriptor) {
  const { ino, birthtimeNs } = fs.fstatSync(descriptor, { bigint: true });
  const identity = `${ino}.${birthtimeNs}`;
  const path = readlinkSync(`/proc/self/fd/${descriptor}`);
  if (relative(state, path).startsWith("..")) return () => undefined;
  if (fs.fstatSync(descriptor).isDirectory()) {
    const entries = fs.readdirSync(path).flatMap((name) => {
      const found = fs.lstatSync(`${path}/${name}`, { bigint: true, throwIfNoEntry: false });
      return found === undefined ? [] : [[name, `${found.ino}.${found.birthtimeNs}`, found.isDirectory()]];
    });
    return () => fs.writeFileSync(`${durable}/${identity}.entries`, JSON.stringify(entries));
  }
  const bytes = fs.readFileSync(`/proc/self/fd/${descriptor}`);
  return () => fs.writeFileSync(`${durable}/${identity}.bytes`, bytes);
}

/** Syncs are recorded for power-loss.ts, those of what has no name here, too. */
function recordSyncs() {
  const onPool = promisify(fs.fdatasync);
  fs.fdatasync = (descriptor, callback) => {
    const done = covered(descriptor);
    onPool(descriptor).then(() => {
      done();
      callback(null);
    }, callback);
  };
}

function recordHandleSyncs(prototype) {
  for (const name of ["sync", "datasync"]) {
    const original = prototype[name];
    prototype[name] = async function () {
      const done = covered(this.fd);
      await original.call(this);
      done();
    };
  }
}

function watchCallback(name, verb) {
  const original = fs[name];
  const watched = (...args) => {
    const step = stepOf(verb, args[0]);
    if (step === undefined) return original(...args);
    const callback = args.pop();
    original(...args, (...results) => {
      moment(step);
      callback(...results);
    });
  };
  const asPromise = promisify(original);
  // `write` resolves to an object by a promisification of its own.
  watched[promisify.custom] = async (...args) => {
    const step = stepOf(verb, args[0]);
    if (step === undefined) return asPromise(...args);
    const result = await asPromise(...args);
    moment(step);
    return result;
  };
  fs[name] = watched;
}

function watchPromise(owner, name, verb, pathOf) {
  const original = owner[name];
  owner[name] = async function (...args) {
    const step = stepOf(verb, pathOf(this, args));
    if (step === undefined) return original.apply(this, args);
    const result = await original.apply(this, args);
    moment(step);
    return result;
  };
}

function watchFiles() {
  const isWriting = (_path, flags) => typeof flags === "string" && flags.startsWith("w");
  watchSync("openSync", "create", { when: isWriting });
  watchSync("writeSync", "write");
  watchSync("ftruncateSync", "cut");
  watchSync("linkSync", "link", { at: 1 });
  watchSync("rmSync", "remove");
  watchSync("unlinkSync", "remove");
  watchSync("renameSync", "rename to", { at: 1 });
  watchCallback("fdatasync", "sync");
  watchCallback("fsync", "sync");
  watchCallback("write", "write");
  const second = (_, args) => args[1];
  const first = (_, args) => args[0];
  watchPromise(fs.promises, "rename", "rename to", second);
  watchPromise(fs.promises, "copyFile", "copy to", second);
  watchPromise(fs.promises, "link", "link", second);
  for (const name of ["unlink", "rm"]) watchPromise(fs.promises, name, "remove", first);
  syncBuiltinESMExports();
}

async function watchHandles() {
  const handle = await fs.promises.open("/dev/null", "r");
  const prototype = Object.getPrototypeOf(handle);
  await handle.close();
  if (durable !== undefined) recordHandleSyncs(prototype);
  const descriptor = (self) => self.fd;
  for (const name of ["sync", "datasync"]) watchPromise(prototype, name, "sync", descriptor);
  for (const name of ["write", "writev", "appendFile"]) watchPromise(prototype, name, "write", descriptor);
  watchPromise(prototype, "truncate", "cut", descriptor);
}

/** Changes that go along with others, or not, as it happens. */
const bookkeeping =
  /^(delete (upload|upload_part|tombstone|trash|trash_directory|recall|xattr|cached)|update (inode|tombstone|trash))$/;

function nameOfCommit(changes) {
  const all = [...changes].sort();
  const main = all.filter((change) => !bookkeeping.test(change));
  return (main.length > 0 ? main : all).join(", ") || "nothing";
}

function watchCatalog() {
  const require = createRequire(new URL("../../dist/catalog/database.js", import.meta.url));
  const { prototype } = require("better-sqlite3");
  const changes = new Set();
  const commit = (work) => {
    const result = work();
    moment(`commit of ${nameOfCommit(changes)}`);
    changes.clear();
    return result;
  };
  const { prepare, exec } = prototype;
  prototype.exec = function (sql) {
    return /COMMIT/.test(sql) ? commit(() => exec.call(this, sql)) : exec.call(this, sql);
  };
  prototype.prepare = function (sql) {
    const statement = prepare.call(this, sql);
    const change = /^\s*(INSERT|UPDATE|DELETE)(?: OR \w+)?(?: INTO| FROM)? (\w+)/i.exec(sql);
    if (sql.trim() === "COMMIT") {
      const { run } = statement;
      statement.run = (...args) => commit(() => run.apply(statement, args));
    } else if (change !== null && change[2] !== "meta") {
      // Not `meta`: whether a block of numbers has to be reserved is chance.
      for (const name of ["run", "get"]) {
        const original = statement[name];
        statement[name] = (...args) => {
          changes.add(`${change[1].toLowerCase()} ${change[2]}`);
          return original.apply(statement, args);
        };
      }
    }
    return statement;
  };
}

function watchRequests() {
  const names = new WeakMap();
  const nameOf = ({ method, path }) => {
    const match = matchRoute(method, path.split("?")[0]);
    return match.ok ? match.route.operation : "unknown";
  };
  const tell =
    (what) =>
    ({ request }) => {
      const name = names.get(request) ?? nameOf(request);
      names.set(request, name);
      moment(`${what} ${name}`);
    };
  diagnostics.subscribe("undici:request:create", tell("about to send"));
  diagnostics.subscribe("undici:request:bodySent", tell("sent"));
  diagnostics.subscribe("undici:request:headers", tell("answer to"));
}

/** Heads the moments to come, and says which of them ends the process: by its name, its novelty, or its number. */
function obey({ heading, at, known, countdown }) {
  const seen = new Set(known);
  let left = countdown;
  if (at !== undefined) watch = { heading, isDue: (step) => step === at };
  else if (known !== undefined) watch = { heading, isDue: (_, name) => !seen.has(name) };
  else if (countdown !== undefined) watch = { heading, isDue: () => --left <= 0 };
  else watch = undefined;
}

/** The machine has booted again since the last process. */
function pretendBoot(bootId) {
  const { readFile } = fs.promises;
  fs.promises.readFile = async (path, ...rest) =>
    path === "/proc/sys/kernel/random/boot_id" ? bootId : readFile(path, ...rest);
}

async function prepare() {
  if (durable !== undefined) recordSyncs();
  pretendBoot(process.env.CASFS_BOOT_ID);
  watchFiles();
  await watchHandles();
  watchCatalog();
  watchRequests();
  await Promise.all([import("../../dist/app/mount-app.js"), import("../../dist/cli/commands/mount.js")]);
  // Not Node's own channel to its parent: a casfs that finds one takes its parent for a `casfs mount --daemon`.
  const parent = new Socket({ fd: 3 });
  // Who made this process is gone: nobody will ever let it begin, or end it.
  parent.on("close", () => process.exit(1));
  await new Promise((resolve) => {
    createInterface(parent).on("line", (line) => {
      obey(JSON.parse(line));
      parent.write("obeyed\n");
      resolve();
    });
    parent.write("loaded\n");
  });
  parent.unref();
}

// Workers load this too; what they do is only read.
if (isMainThread) await prepare();
