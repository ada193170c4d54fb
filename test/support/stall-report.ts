/**
 * What everybody is waiting for when a test with a killed mount gets nowhere: a timeout alone says nothing.
 *
 * Never: ends the wait; on a machine that is merely slow the test goes on.
 */

import { readdirSync, readFileSync } from "node:fs";
import type { KilledMount } from "./killed-mount.js";

/** Longer than anything takes here while twenty processes share each core. */
const patienceMs = 60_000;

/** Waits for `work`, and tells once on standard error when that takes unusually long. */
export async function reportingStalls<T>(what: string, mount: KilledMount, work: Promise<T>): Promise<T> {
  const timer = setTimeout(() => console.error(report(what, mount)), patienceMs);
  try {
    return await work;
  } finally {
    clearTimeout(timer);
  }
}

function report(what: string, mount: KilledMount): string {
  const { pid, deaths, isDead, stderr } = mount;
  return [
    `${what} has taken ${patienceMs / 1000} s; the last death was at "${deaths.at(-1)}"`,
    `The mount (process ${pid}, ${isDead ? "dead" : "alive"}) has said: ${stderr.slice(-4000)}`,
    ...(pid === undefined ? [] : threadsOf(pid)),
    ...threadsOf(process.pid),
  ].join("\n");
}

/** Waits of threads that have nothing to do. */
const idle = /^(futex_do_wait|futex_wait_queue|do_epoll_wait|ep_poll)$/;

/** State, place in the kernel and system call of each thread that does something or waits for something. */
function threadsOf(pid: number): string[] {
  const tasks = `/proc/${pid}/task`;
  const ids = attempt(() => readdirSync(tasks)) ?? [];
  const fileOf = (id: string, name: string) => attempt(() => readFileSync(`${tasks}/${id}/${name}`, "utf8")) ?? "?";
  return ids.flatMap((id) => {
    const place = fileOf(id, "wchan");
    if (idle.test(place) && id !== String(pid)) return [];
    const [, name, state] = /\((.*)\) (\S)/s.exec(fileOf(id, "stat")) ?? [];
    const stack = fileOf(id, "stack").split("\n").slice(0, 4).join(" < ");
    return `  ${pid}/${id} ${name} ${state} ${place} ${fileOf(id, "syscall").trim().slice(0, 80)} ${stack}`;
  });
}

function attempt<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}
