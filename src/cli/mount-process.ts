/** The process behind a mount, as others see it. Never asks the mount anything: it may be stopped or stuck. */

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { isControlAnswering } from "../app/control-client.js";
import { controlSocketPath } from "../app/control-socket.js";
import type { CasfsMount } from "./casfs-mount.js";
import type { Terminal } from "./terminal.js";

/** How long a command may be silent while it waits for a mount. */
const silenceMsMax = 2000;

/** Its socket goes first, its name as the owner of the state last. */
export async function isRunning(mount: CasfsMount): Promise<boolean> {
  if (await isControlAnswering(controlSocketPath(mount.stateDirectory))) return true;
  const process = await processOf(mount);
  return process !== undefined;
}

/** Awaits `work`; when it takes longer than a moment, says that `what` is waited for, and why it may last. */
export async function tellWhileWaiting<T>(
  { mount, what, terminal }: { readonly mount: CasfsMount; readonly what: string; readonly terminal: Terminal },
  work: Promise<T>,
): Promise<T> {
  const timer = setTimeout(async () => {
    const process = await processOf(mount).catch(() => undefined);
    const stopped = process?.isStopped
      ? `, but its process ${process.pid} is stopped: \`kill -CONT ${process.pid}\` lets it go on`
      : "";
    terminal.tell(`casfs: waiting until ${what}${stopped}`);
  }, silenceMsMax);
  try {
    return await work;
  } finally {
    clearTimeout(timer);
  }
}

/** Undefined when it is gone. A process that has ended but whose end nobody has asked for (a zombie) holds nothing. */
async function processOf({ stateDirectory }: CasfsMount) {
  const owner = await readFile(join(stateDirectory, "owner.json"), "utf8").catch(() => undefined);
  const pid = /"pid":(\d+)/.exec(owner ?? "")?.[1];
  const stat = pid && (await readFile(`/proc/${pid}/stat`, "utf8").catch(() => undefined));
  // proc(5): the name in parentheses may have any character, the state is behind the last one.
  const state = stat && /\) (\S) [^)]*$/.exec(stat)?.[1];
  if (!state || state === "Z" || state === "X") return undefined;
  return { pid, isStopped: state === "T" || state === "t" };
}
