/** The URL paths of the service: built by the client, matched by the server (cas-api section 1). Pure. */

import {
  type ArchiveId,
  archiveId,
  isVaultName,
  type JobId,
  jobId,
  type UploadId,
  uploadId,
  type VaultName,
} from "../domain/ids.js";
import { invariant } from "../lib/invariant.js";
import type { WireErrorCode } from "./error-wire.js";

/** `-` (the account of the key) or an account number as text. */
export type AccountText = string & { readonly __brand: "AccountText" };

export type HttpMethod = "GET" | "PUT" | "POST" | "DELETE";

type VaultOperation =
  | "createVault"
  | "describeVault"
  | "deleteVault"
  | "setAccessPolicy"
  | "getAccessPolicy"
  | "deleteAccessPolicy"
  | "setNotification"
  | "getNotification"
  | "deleteNotification"
  | "initiateVaultLock"
  | "getVaultLock"
  | "abortVaultLock"
  | "uploadArchive"
  | "initiateMultipartUpload"
  | "listMultipartUploads"
  | "initiateJob"
  | "listJobs";
type UploadOperation = "uploadPart" | "completeMultipartUpload" | "listParts" | "abortMultipartUpload";
type JobOperation = "describeJob" | "getJobOutput";

interface InAccount {
  readonly account: AccountText;
}
interface InVault extends InAccount {
  readonly vault: VaultName;
}

/** What a request asks for. The name of an operation is that of the method of `CasService`, where there is one. */
export type Route =
  | (InAccount & { readonly operation: "listVaults" })
  | (InVault & { readonly operation: VaultOperation })
  | (InVault & { readonly operation: "completeVaultLock"; readonly lock: string })
  | (InVault & { readonly operation: "deleteArchive"; readonly archive: ArchiveId })
  | (InVault & { readonly operation: UploadOperation; readonly upload: UploadId })
  | (InVault & { readonly operation: JobOperation; readonly job: JobId });

export type Operation = Route["operation"];

/** A path segment is a literal word or, after `:`, the name of a parameter. */
interface Resource {
  readonly path: string;
  readonly methods: Partial<Record<HttpMethod, Operation>>;
}

const resources: readonly Resource[] = [
  { path: ":account/vaults", methods: { GET: "listVaults" } },
  { path: ":account/vaults/:vault", methods: { PUT: "createVault", GET: "describeVault", DELETE: "deleteVault" } },
  {
    path: ":account/vaults/:vault/access-policy",
    methods: { PUT: "setAccessPolicy", GET: "getAccessPolicy", DELETE: "deleteAccessPolicy" },
  },
  {
    path: ":account/vaults/:vault/notification-configuration",
    methods: { PUT: "setNotification", GET: "getNotification", DELETE: "deleteNotification" },
  },
  {
    path: ":account/vaults/:vault/lock-policy",
    methods: { POST: "initiateVaultLock", GET: "getVaultLock", DELETE: "abortVaultLock" },
  },
  { path: ":account/vaults/:vault/lock-policy/:lock", methods: { POST: "completeVaultLock" } },
  { path: ":account/vaults/:vault/archives", methods: { POST: "uploadArchive" } },
  { path: ":account/vaults/:vault/archives/:archive", methods: { DELETE: "deleteArchive" } },
  {
    path: ":account/vaults/:vault/multipart-uploads",
    methods: { POST: "initiateMultipartUpload", GET: "listMultipartUploads" },
  },
  {
    path: ":account/vaults/:vault/multipart-uploads/:upload",
    methods: {
      PUT: "uploadPart",
      POST: "completeMultipartUpload",
      GET: "listParts",
      DELETE: "abortMultipartUpload",
    },
  },
  { path: ":account/vaults/:vault/jobs", methods: { POST: "initiateJob", GET: "listJobs" } },
  { path: ":account/vaults/:vault/jobs/:job", methods: { GET: "describeJob" } },
  { path: ":account/vaults/:vault/jobs/:job/output", methods: { GET: "getJobOutput" } },
];

const resourceSegments = resources.map((resource) => ({ ...resource, segments: resource.path.split("/") }));

/** `-` for the account that signs, or its number. @throws RangeError for anything else. */
export function accountText(text: string): AccountText {
  if (!/^(-|\d{1,20})$/.test(text)) throw new RangeError(`Cannot use ${JSON.stringify(text)} as an account`);
  return text as AccountText;
}

/** Method and path of `route`. Ids and names need no escaping (section 15.9). */
export function formatRoute(route: Route): { readonly method: HttpMethod; readonly path: string } {
  for (const { path, methods } of resources) {
    for (const [method, operation] of Object.entries(methods)) {
      if (operation === route.operation) return { method: method as HttpMethod, path: fill(path, route) };
    }
  }
  throw new Error(`Broken invariant: no path for ${route.operation}`);
}

export type RouteMatch =
  | { readonly ok: true; readonly route: Route }
  | { readonly ok: false; readonly code: WireErrorCode; readonly message: string };

/** The route of a request; `path` is as received, without the query. Takes one trailing slash (section 1). */
export function matchRoute(method: string, path: string): RouteMatch {
  const segments = splitPath(path);
  if (segments === undefined) return failure("ResourceNotFoundException", "There is no such path");
  for (const { segments: pattern, methods } of resourceSegments) {
    const values = matchSegments(pattern, segments);
    if (values === undefined) continue;
    const operation = Object.hasOwn(methods, method) ? methods[method as HttpMethod] : undefined;
    if (operation === undefined) return failure("BadRequest", `The method ${method} is not defined on this path`);
    return toRoute(operation, values);
  }
  return failure("ResourceNotFoundException", "There is no such path");
}

/** Paths for `Location` headers. */
export function vaultPath(account: string, vault: VaultName): string {
  return `/${account}/vaults/${vault}`;
}

export function archivePath(account: string, vault: VaultName, archive: ArchiveId): string {
  return `${vaultPath(account, vault)}/archives/${archive}`;
}

export function uploadPath(account: string, vault: VaultName, upload: UploadId): string {
  return `${vaultPath(account, vault)}/multipart-uploads/${upload}`;
}

export function jobPath(account: string, vault: VaultName, job: JobId): string {
  return `${vaultPath(account, vault)}/jobs/${job}`;
}

function fill(pattern: string, route: Route): string {
  const values = route as unknown as Record<string, string | undefined>;
  const segments = pattern.split("/").map((segment) => {
    if (!segment.startsWith(":")) return segment;
    const value = values[segment.slice(1)];
    invariant(value !== undefined, `${route.operation} has a ${segment.slice(1)}`);
    return value;
  });
  return `/${segments.join("/")}`;
}

function splitPath(path: string): string[] | undefined {
  if (!path.startsWith("/")) return undefined;
  const trimmed = path.endsWith("/") ? path.slice(1, -1) : path.slice(1);
  try {
    return trimmed.split("/").map(decodeURIComponent);
  } catch {
    return undefined;
  }
}

function matchSegments(pattern: readonly string[], segments: readonly string[]): Map<string, string> | undefined {
  if (pattern.length !== segments.length) return undefined;
  const values = new Map<string, string>();
  for (const [index, expected] of pattern.entries()) {
    const segment = segments[index]!;
    if (expected.startsWith(":")) values.set(expected.slice(1), segment);
    else if (expected !== segment) return undefined;
  }
  return values;
}

/** Section 4.3: a bad vault name is a bad parameter; an id that cannot exist is one that does not exist. */
function toRoute(operation: Operation, values: ReadonlyMap<string, string>): RouteMatch {
  const vault = values.get("vault");
  if (vault !== undefined && !isVaultName(vault)) {
    return failure("InvalidParameterValueException", "The vault name must be 1-255 characters of a-z A-Z 0-9 _ - .");
  }
  const checked: Record<string, string> = { operation };
  try {
    for (const [name, value] of values) checked[name] = checkers[name]!(value);
  } catch {
    return failure("ResourceNotFoundException", "There is no such resource");
  }
  return { ok: true, route: checked as unknown as Route };
}

const checkers: Readonly<Record<string, (text: string) => string>> = {
  account: accountText,
  vault: (text) => text,
  lock: lockId,
  archive: archiveId,
  upload: uploadId,
  job: jobId,
};

/** Any text: whether it is the vault's lock is the vault's question, and a wrong one a bad parameter (section 8.3). */
function lockId(text: string): string {
  if (text === "") throw new RangeError("Cannot use an empty text as a lock id");
  return text;
}

function failure(code: WireErrorCode, message: string): RouteMatch {
  return { ok: false, code, message };
}
