/**
 * `~/.cascmd_credentials`, where the official command line keeps its key (cas-api section 18).
 *
 * Relies on: the form that Python's ConfigParser writes. Never: puts a line of the file into an error; it may be the key.
 */

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { UsageError } from "../domain/errors.js";

/** What `cascmd config` has saved; every value as text, `endpoint` as a URL. */
export interface CascmdCredentials {
  readonly path: string;
  readonly endpoint: string;
  readonly appId: string;
  readonly secretId: string;
  readonly secretKey: string;
}

const sectionName = "CASCredentials";

/** Undefined when there is no such file in `home`. @throws UsageError when it is not what cascmd writes. */
export async function readCascmdCredentials(home: string): Promise<CascmdCredentials | undefined> {
  const path = join(home, ".cascmd_credentials");
  const content = await readFile(path, "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT" || error.code === "ENOTDIR") return undefined;
    throw new UsageError(`Cannot read ${path}`, { cause: error });
  });
  if (content === undefined) return undefined;
  const values = sectionOf(content, sectionName);
  const take = (name: string): string => {
    const value = values.get(name);
    if (value !== undefined && value !== "") return value;
    throw new UsageError(`Cannot use ${path}: it has no ${name} in the section [${sectionName}]`, {
      hint: "Repair it with `cascmd.py config`, or remove it",
    });
  };
  return {
    path,
    endpoint: urlOf(take("endpoint"), path),
    appId: take("appid"),
    secretId: take("secretid"),
    secretKey: take("secretkey"),
  };
}

/** The keys of one section, lowercase; comments and other sections are passed over. */
function sectionOf(content: string, name: string): Map<string, string> {
  const values = new Map<string, string>();
  let current: string | undefined;
  for (const line of content.split(/\r?\n/)) {
    const header = /^\[([^\]]*)\]\s*$/.exec(line);
    if (header !== null) current = header[1];
    const [, key, value] = /^([^#;=:\s][^=:]*?)\s*[=:]\s*(.*?)\s*$/.exec(line) ?? [];
    if (header === null && current === name && key !== undefined) values.set(key.toLowerCase(), value ?? "");
  }
  return values;
}

/** cascmd wants a bare host name and always speaks plain HTTP. */
function urlOf(endpoint: string, path: string): string {
  const url = /^https?:\/\//i.test(endpoint) ? endpoint : `http://${endpoint}`;
  if (URL.canParse(url)) return new URL(url).origin;
  throw new UsageError(`Cannot use ${path}: its endpoint is no host name`);
}
