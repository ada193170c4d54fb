/**
 * What travels over the control socket: the requests, checked, and failures with their kind.
 *
 * `POST /<method>` with the request as JSON; 200 and the result, or another status and `{"error": ...}`.
 */

import { z } from "zod";
import { MIB } from "../domain/bytes.js";
import { CasfsError, describeError, type ErrorKind, FileSystemError, UsageError } from "../domain/errors.js";
import { retrievalTiers } from "../protocol/service.js";
import type { ControlApi } from "./control-api.js";

export type ControlMethod = keyof ControlApi;

const name = z
  .string()
  .min(1)
  .refine((text) => text !== "." && text !== ".." && !/[/\0]/.test(text), "it must be a name");
const paths = z.array(z.array(name));
const tier = z.enum(retrievalTiers).exactOptional();
const batch = z.string().min(1).max(64);
const offset = z.int().min(0);
const range = z.object({ start: offset, end: offset.nullable() }).exactOptional();
const restoreRequest = { paths, recursive: z.boolean(), tier, range };

/** The request of every method; what a client of another version sends besides is left out. */
export const requestSchemas = {
  status: z.object({}),
  wait: z.object({ paths }),
  drain: z.object({}),
  evict: z.object({ paths }),
  setPinned: z.object({ paths, pinned: z.boolean() }),
  planRestore: z.object(restoreRequest),
  restore: z.object({ ...restoreRequest, wait: z.boolean(), batch: batch.exactOptional() }),
  readRestored: z.object({ path: z.array(name), start: offset, length: z.int().min(1).max(MIB) }),
  restoreProgress: z.object({ batch }),
  cost: z.object({ paths }),
  ledger: z.object({ since: z.iso.datetime().nullable() }),
  takeOverVault: z.object({ vault: z.string() }),
  fsck: z.object({ verify: z.boolean() }),
  refreshInventory: z.object({ vault: z.string(), wait: z.boolean() }),
} as const satisfies Record<ControlMethod, z.ZodType>;

export type ControlRequest<M extends ControlMethod> = z.output<(typeof requestSchemas)[M]>;

const errorSchema = z.object({
  error: z.object({ name: z.string(), kind: z.string(), message: z.string(), hint: z.string().nullable() }),
});

/** The JSON of a failure. What is not a `CasfsError` is a fault of the mount and travels as "unavailable". */
export function errorMessage(error: unknown): z.output<typeof errorSchema> {
  const known = error instanceof CasfsError;
  return {
    error: {
      name: known ? error.name : "Error",
      kind: known ? error.kind : "unavailable",
      message: describeError(error),
      hint: known ? (error.hint ?? null) : null,
    },
  };
}

/** The failure that `errorMessage` made `message` of, as far as a caller can act upon it. */
export function errorFromMessage(message: unknown): CasfsError {
  const parsed = errorSchema.safeParse(message);
  if (!parsed.success) {
    return new FileSystemError("unavailable", "Cannot understand the answer of the casfs mount", {
      hint: "It may run another version of casfs; unmount it and mount it again",
    });
  }
  const { name: errorName, kind, message: text, hint } = parsed.data.error;
  const options = hint === null ? {} : { hint };
  if (errorName === "UsageError") return new UsageError(text, options);
  return new FileSystemError(kind as ErrorKind, text, options);
}
