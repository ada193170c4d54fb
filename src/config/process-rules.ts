/** Processes as users name them: `updatedb*,tracker-miner-*,uid:1000`. */

import { matchesGlob } from "../lib/glob.js";
import type { ProcessRules } from "../vfs/recall-governor.js";

/**
 * What reads every file that it finds, unasked: the indexers of desktops and of locate, thumbnailers, and what scans
 * whole machines for viruses and changes. Of locate only the name of its database's builder; the others read names.
 */
const unaskedReaders = [
  "updatedb*", // mlocate's and plocate's binaries are called updatedb.mlocate and updatedb.plocate
  "tracker-miner-*",
  "tracker-extract*",
  "tracker-store",
  "localsearch*", // what tracker is called now
  "baloo_file*",
  "akonadi_indexi*",
  "recollindex",
  "tumblerd",
  "*thumbnailer*",
  "thumbnail.so", // a worker of KDE
  "clamscan",
  "clamd",
  "clamonacc",
  "rkhunter",
  "aide",
  "tripwire",
];

const uidPattern = /^uid:(\d+)$/;
const patternLengthMax = 255;

/**
 * @param text Names with `*` and `?`, and `uid:NUMBER`, separated by commas; `default` stands for what is
 *   shipped. The empty text and `none` deny nobody.
 * @throws RangeError for anything else.
 */
export function parseProcessRules(text: string): ProcessRules {
  const words = text.trim() === "none" ? [] : text.split(",").map((word) => word.trim());
  const rules = words.flatMap((word) => (word === "default" ? unaskedReaders : word || []));
  const uids = new Map<number, string>();
  const patterns: string[] = [];
  for (const rule of rules) {
    const [, uid] = uidPattern.exec(rule) ?? [];
    if (uid !== undefined) uids.set(Number(uid), rule);
    else if (rule.startsWith("uid:") || rule.includes("/") || rule.length > patternLengthMax) {
      throw new RangeError("a rule is the name of a program such as updatedb*, or a user such as uid:1000");
    } else patterns.push(rule);
  }
  return {
    hasNames: patterns.length > 0,
    match: ({ names, uid }) =>
      uids.get(uid) ?? patterns.find((pattern) => names.some((name) => matchesGlob(pattern, name))),
  };
}
