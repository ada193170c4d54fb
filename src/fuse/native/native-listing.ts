/** A directory as libfuse 2.9 takes it: whole, with the kinds of its entries as long as they are not too many. */

import type { InodeNumber } from "../../domain/ids.js";
import type { DirectorySink, EntryReply } from "../driver.js";
import type { NativeEntry } from "./fuse-native-package.js";
import { nativeIno } from "./native-stat.js";

const rowsOfPage = 1000;
/** The package makes 700 bytes of each entry, all at once. */
const entriesMax = 50_000;

export interface Listing {
  readonly names: readonly string[];
  /** One for each name, or undefined. */
  readonly entries: readonly NativeEntry[] | undefined;
}

/** @param readPage Adds what comes after a cookie; nothing at the end. */
export async function listNames(readPage: (cookie: number, page: DirectorySink) => Promise<void>): Promise<Listing> {
  const names: string[] = [];
  let entries: NativeEntry[] | undefined = [];
  for (let cookie = 0; ; ) {
    const page = new NamePage();
    await readPage(cookie, page);
    names.push(...page.names);
    if (names.length > entriesMax) entries = undefined;
    entries?.push(...page.entries);
    if (page.names.length === 0) return { names, entries };
    cookie = page.cookie;
  }
}

/** Takes one page of names. */
class NamePage implements DirectorySink {
  readonly takes = "none";
  readonly capacity = rowsOfPage;
  readonly names: string[] = [];
  readonly entries: NativeEntry[] = [];
  cookie = 0;

  add(name: string, cookie: number, ino: InodeNumber, mode: number, _entry: EntryReply | null): boolean {
    if (this.names.length >= rowsOfPage) return false;
    this.names.push(name);
    this.entries.push({ ino: nativeIno(ino), mode });
    this.cookie = cookie;
    return true;
  }
}
