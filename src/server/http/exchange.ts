/** One request and its answer as the handlers see them: no sockets, no status lines. */

import { parseJsonBody } from "../../protocol/error-wire.js";
import type { HeaderLookup, HeaderRecord } from "../../protocol/message-headers.js";
import type { VaultOwner } from "../../protocol/qcs.js";
import type { Operation, Route } from "../../protocol/routes.js";
import type { NameValue } from "../../protocol/signature.js";
import type { VaultLocks } from "../access/vault-lock.js";
import type { Inventory } from "../jobs/inventory.js";
import type { JobOrders } from "../jobs/job-orders.js";
import type { JobStore } from "../jobs/job-store.js";
import type { ArchiveStore } from "../store/archive-store.js";
import type { MultipartStore } from "../store/multipart-store.js";
import type { RequestBody } from "./request-body.js";

/** What all handlers work on. */
export interface CasState {
  readonly store: ArchiveStore;
  readonly uploads: MultipartStore;
  readonly orders: JobOrders;
  readonly jobs: JobStore;
  readonly inventory: Inventory;
  readonly locks: VaultLocks;
  /** Largest body of one Upload Archive. */
  readonly singleUploadBytesMax: number;
}

/** One request that its sender may make. */
export interface CasRequest {
  /** Region and account of the vault that is asked for: what resource names and locations are made of. */
  readonly owner: VaultOwner;
  readonly headers: HeaderLookup;
  readonly parameters: readonly NameValue[];
  readonly body: RequestBody;
}

/** Without `json` and `output` the body is empty and has no Content-Type (cas-api section 2.3). */
export interface Answer {
  readonly status: number;
  readonly headers?: HeaderRecord;
  readonly json?: object;
  /** Streamed; `headers` say its type and length. */
  readonly output?: AsyncIterable<Buffer>;
}

/** Carries out one operation. @throws WireError with the code that is answered. */
export type Handler<O extends Operation> = (
  cas: CasState,
  request: CasRequest,
  route: Route & { readonly operation: O },
) => Answer | Promise<Answer>;

export type Handlers<O extends Operation> = { readonly [Each in O]: Handler<Each> };

// The largest JSON body is an access policy of 20 KiB, with every character escaped.
const jsonBytesMax = 256 * 1024;

/** @throws WireError SerializationException, or when the body is too long. */
export async function readJson(request: CasRequest): Promise<object> {
  return parseJsonBody(await request.body.readAll(jsonBytesMax));
}
