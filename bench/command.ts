/** Programs that the benchmark runs: short ones to their end, servers in the background. */

import { spawn, spawnSync } from "node:child_process";
import { closeSync, openSync, readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

/** The command line of casfs, as it was built. */
export const casfsProgram = "dist/cli/main.js";

/** Runs a program to its end. @returns how long it took, in milliseconds. @throws Error with its output if it fails. */
export function timed(program: string, args: readonly string[]): number {
  const started = process.hrtime.bigint();
  const result = spawnSync(program, args, {
    stdio: ["ignore", "ignore", "pipe"],
    encoding: "utf8",
    env: { ...process.env, LC_ALL: "C" },
  });
  const elapsedMs = Number(process.hrtime.bigint() - started) / 1e6;
  if (result.error !== undefined) throw result.error;
  if (result.status !== 0)
    throw new Error(`${program} ${args.join(" ")} ended with ${result.status}: ${result.stderr}`);
  return elapsedMs;
}

/** As `timed`, for what is not measured. */
export function run(program: string, ...args: readonly string[]): void {
  timed(program, args);
}

/** Runs one of `bench/programs`, which measures itself. @returns the JSON that it prints. @throws Error if it fails. */
export function report<T>(program: string, ...args: readonly (string | number)[]): T {
  const path = fileURLToPath(new URL(`programs/${program}.js`, import.meta.url));
  const result = spawnSync(process.execPath, [path, ...args.map(String)], {
    stdio: ["ignore", "pipe", "inherit"],
    encoding: "utf8",
  });
  if (result.error !== undefined) throw result.error;
  if (result.status !== 0) throw new Error(`${program} ${args.join(" ")} ended with ${result.status}`);
  return JSON.parse(result.stdout) as T;
}

/** A program in the background, with what it has written so far. */
export interface Background {
  readonly program: string;
  readonly pid: number;
  output(): string;
  hasEnded(): boolean;
  kill(): void;
}

/** Its output goes to the file `log`: nobody empties a pipe while the benchmark waits for another program. */
export function background(program: string, args: readonly string[], log: string): Background {
  const output = openSync(log, "w");
  const child = spawn(program, args, { stdio: ["ignore", output, output] });
  closeSync(output);
  let ended = false;
  const end = () => {
    ended = true;
  };
  child.once("error", end);
  child.once("exit", end);
  return {
    program,
    pid: child.pid ?? 0,
    output: () => readFileSync(log, "utf8"),
    hasEnded: () => ended,
    kill: () => child.kill("SIGKILL"),
  };
}

/** Asks `condition` until it is true. @throws Error when that takes longer than `withinMs`. */
export async function until(
  condition: () => boolean,
  { withinMs, what }: { readonly withinMs: number; readonly what: () => string },
): Promise<void> {
  const deadline = performance.now() + withinMs;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`Waited ${withinMs} ms in vain: ${what()}`);
    await sleep(5);
  }
}
