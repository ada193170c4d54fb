/** Whether the tables of this folder cover the service: every operation, every error code. */

import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { wireErrors } from "../../src/protocol/error-wire.js";
import { formatRoute, matchRoute, type Route } from "../../src/protocol/routes.js";
import { codesNeverSent, codesWithTestsOfTheirOwn, errorRows } from "./support/error-rows.js";
import { operationRows } from "./support/operation-rows.js";

const read = (path: string) => readFileSync(fileURLToPath(new URL(path, import.meta.url)), "utf8");

test("every operation of the service has a success in the table", () => {
  // The type of the table has each operation; here each must have a row, and a path that the server routes.
  for (const [operation, rows] of Object.entries(operationRows)) {
    expect(rows.length, operation).toBeGreaterThan(0);
    const parts = { account: "-", vault: "v", archive: "A", upload: "U", job: "J", lock: "L" };
    const { method, path } = formatRoute({ operation, ...parts } as unknown as Route);
    const match = matchRoute(method, path);
    expect(match.ok && match.route.operation).toBe(operation);
  }
  const routed = [...read("../../src/protocol/routes.ts").matchAll(/(?:GET|PUT|POST|DELETE): "(\w+)"/g)];
  expect(routed.map(([, operation]) => operation).sort()).toEqual(Object.keys(operationRows).sort());
});

test("every error code of section 4.2 is met by a row, has tests of its own, or is never sent", () => {
  const met = new Set([...errorRows.map(({ code }) => code), ...codesWithTestsOfTheirOwn, ...codesNeverSent]);
  expect([...met].sort()).toEqual(Object.keys(wireErrors).sort());
  expect(errorRows.filter(({ code }) => codesNeverSent.includes(code))).toEqual([]);
});

test("a row of the error table asks for the status that belongs to its code", () => {
  for (const { when, status, code } of errorRows) expect(wireErrors[code].status, when).toBe(status);
});

test("codes with tests of their own are asserted in a test file of this folder", () => {
  const files = readdirSync(fileURLToPath(new URL(".", import.meta.url))).filter((name) => name.endsWith(".test.ts"));
  const others = files
    .filter((name) => name !== "coverage.test.ts")
    .map((name) => read(`./${name}`))
    .join("\n");
  for (const code of codesWithTestsOfTheirOwn)
    expect(others, code).toMatch(new RegExp(`expectError\\([^;]*"${code}"\\)`));
});

test("codes that are never sent are named nowhere in the server", () => {
  const directory = fileURLToPath(new URL("../../src/server/", import.meta.url));
  const modules = readdirSync(directory, { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".ts"));
  const source = modules.map((name) => read(`../../src/server/${name}`)).join("\n");
  expect(source).toContain("ServiceUnavailableException");
  for (const code of codesNeverSent) expect(source).not.toContain(code);
});
