/** What every answer of the service has to look like (cas-api sections 2.2, 2.3, 4.1). */

import { expect } from "vitest";
import type { Reply } from "./wire-connection.js";

/** Headers that HTTP brings along; the rest are the operation's. */
const usual = ["date", "connection", "keep-alive", "server", "content-length"];

/** The names of the operation's own headers, sorted; `x-cas-requestid` is checked and left out. */
export function ownHeaders(reply: Reply): string[] {
  const names = reply.lines.map(([name]) => name.toLowerCase());
  expect(names.filter((name) => name === "x-cas-requestid")).toHaveLength(1);
  expect(new Set(names).size).toBe(names.length);
  return names.filter((name) => !usual.includes(name) && name !== "x-cas-requestid").sort();
}

export function expectRequestId(reply: Reply): void {
  expect(reply.header("x-cas-requestId")).toMatch(/^[A-Za-z0-9+/=_-]{20,80}$/);
}

/** A success without a body: no Content-Type, no byte, and exactly these headers of its own. */
export function expectEmpty(reply: Reply, status: number, headers: readonly string[] = []): void {
  expect([reply.status, reply.body.toString()]).toEqual([status, ""]);
  expectRequestId(reply);
  expect(ownHeaders(reply)).toEqual([...headers].sort());
  expect(reply.header("content-length") ?? "0").toBe("0");
}

/** A success with a JSON object of exactly these keys. */
// biome-ignore lint/suspicious/noExplicitAny: tests look into answers of every shape
export function expectJson(reply: Reply, keys: readonly string[]): any {
  expect([reply.status, reply.header("content-type")], reply.body.toString()).toEqual([200, "application/json"]);
  expectRequestId(reply);
  expect(ownHeaders(reply)).toEqual(["content-type"]);
  expect(Number(reply.header("content-length"))).toBe(reply.body.length);
  const json = reply.json();
  expect(Object.keys(json).sort()).toEqual([...keys].sort());
  return json;
}

const serverFaults = ["ServiceUnavailableException", "InsufficientCapacityException"];

export function expectError(reply: Reply, status: number, code: string): void {
  expect([reply.status, codeOf(reply)], reply.body.toString()).toEqual([status, code]);
  expectRequestId(reply);
  expect(reply.header("content-type")).toBe("application/json");
  expect(Number(reply.header("content-length"))).toBe(reply.body.length);
  const type = serverFaults.includes(code) ? "Server" : "Client";
  expect(reply.json()).toEqual({ code, message: expect.stringMatching(/\S/), type });
}

/** The error code of an answer; undefined for a success. */
export function codeOf(reply: Reply): string | undefined {
  return reply.status < 400 ? undefined : (reply.json() as { readonly code?: string }).code;
}

/** ISO 8601 UTC with milliseconds (2.4). */
export const timePattern = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;
