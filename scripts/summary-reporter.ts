/**
 * A vitest reporter that counts: skipped tests with their reasons, then "N passed, N failed, N skipped".
 *
 * Writes to the file named by CASFS_TEST_SUMMARY, because `scripts/test.sh` prints it after everything else.
 * A test without a result, and a file or suite that breaks outside its tests, is a failure.
 */

import { existsSync, writeFileSync } from "node:fs";
import { relative } from "node:path";
import type { Reporter, TestCase, TestModule } from "vitest/node";

interface SkippedGroup {
  readonly file: string;
  readonly reason: string;
  readonly names: string[];
}

export default class SummaryReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], unhandledErrors: readonly unknown[]): void {
    const path = process.env.CASFS_TEST_SUMMARY;
    if (path !== undefined) writeFileSync(path, summarize(modules, unhandledErrors.length));
  }
}

function summarize(modules: readonly TestModule[], unhandledErrors: number): string {
  const tests = modules.flatMap((module) => [...module.children.allTests()]);
  const skipped = tests.filter((test) => test.result().state === "skipped");
  const passed = tests.filter((test) => test.result().state === "passed").length;
  const failed = tests.length - passed - skipped.length + brokenOutsideTests(modules) + unhandledErrors;
  const lines = [...skippedLines(skipped), `${passed} passed, ${failed} failed, ${skipped.length} skipped`];
  return `${lines.join("\n")}\n`;
}

function brokenOutsideTests(modules: readonly TestModule[]): number {
  const suites = modules.flatMap((module) => [module, ...module.children.allSuites()]);
  return suites.filter((suite) => suite.errors().length > 0).length;
}

function skippedLines(skipped: readonly TestCase[]): string[] {
  const groups = new Map<string, SkippedGroup>();
  for (const test of skipped) {
    const file = relative(process.cwd(), test.module.moduleId);
    const reason = reasonOf(test);
    const key = `${file}\0${reason}`;
    const group = groups.get(key) ?? { file, reason, names: [] };
    group.names.push(test.fullName);
    groups.set(key, group);
  }
  return [...groups.values()].map(({ file, reason, names }) =>
    names.length === 1
      ? `skipped: ${file}: ${names[0]} (${reason})`
      : `skipped: ${file}: ${names.length} tests, first "${names[0]}" (${reason})`,
  );
}

function reasonOf(test: TestCase): string {
  const result = test.result();
  const note = result.state === "skipped" ? result.note : undefined;
  if (note !== undefined) return note;
  if (test.options.mode === "run") return suiteBroke(test) ? "its suite broke before it" : "filtered out";
  // Suites of the mount are declared with skipIf, which takes no reason.
  if (!existsSync("/dev/fuse")) return "/dev/fuse is missing on this machine";
  return "marked as skipped in the file";
}

function suiteBroke(test: TestCase): boolean {
  for (let suite = test.parent; ; suite = suite.parent) {
    if (suite.errors().length > 0) return true;
    if (suite.type === "module") return false;
  }
}
