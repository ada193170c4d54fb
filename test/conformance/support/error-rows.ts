/** Every failure of the table in cas-api section 4.3, and those that sections 5-16 add, as one request each. */

import type { WireErrorCode } from "../../../src/protocol/error-wire.js";
import { testBytes } from "../../support/test-bytes.js";
import { treeHash } from "./tree-digest.js";
import type { WireClient, WireRequest } from "./wire-client.js";
import type { World } from "./world.js";

export interface ErrorRow {
  /** Begins with the section that it proves. */
  readonly when: string;
  readonly status: number;
  readonly code: WireErrorCode;
  request(world: World): WireRequest | Promise<WireRequest>;
}

const mib = 1_048_576;
const unknownId = "A".repeat(64);

function rows(
  status: number,
  code: WireErrorCode,
  requests: Readonly<Record<string, (world: World) => WireRequest | Promise<WireRequest>>>,
): ErrorRow[] {
  return Object.entries(requests).map(([when, request]) => ({ when, status, code, request }));
}

/** A request with one header replaced, or left out for undefined. */
function changed(request: WireRequest, name: string, value: string | undefined): WireRequest {
  const rest = Object.entries(request.headers ?? {}).filter(([other]) => other !== name);
  return { ...request, headers: Object.fromEntries(value === undefined ? rest : [...rest, [name, value]]) };
}

async function upload(world: World, name?: string, value?: string): Promise<WireRequest> {
  const request = world.wire.uploadRequest(await world.vault(), testBytes(10));
  return name === undefined ? request : changed(request, name, value);
}

async function part(world: World, { size = 10, first = 0 } = {}): Promise<WireRequest> {
  const vault = await world.vault();
  return world.wire.partRequest(vault, await world.wire.initiateUpload(vault, mib), testBytes(size), first);
}

async function initiate(world: World, partSize: string | undefined, description?: string): Promise<WireRequest> {
  const headers = {
    ...(partSize === undefined ? {} : { "x-cas-part-size": partSize }),
    ...(description === undefined ? {} : { "x-cas-archive-description": description }),
  };
  return { method: "POST", target: `/-/vaults/${await world.vault()}/multipart-uploads`, headers };
}

/** Complete of an upload with these parts, asked with the right size and hash of `whole`. */
async function completion(
  world: World,
  parts: readonly { readonly first: number; readonly bytes: Uint8Array }[],
  claimed: { readonly size?: string | undefined; readonly hash?: string | undefined },
): Promise<WireRequest> {
  const vault = await world.vault();
  const id = await world.wire.initiateUpload(vault, mib);
  for (const { first, bytes } of parts) await world.wire.putPart(vault, id, bytes, first);
  const headers = {
    ...(claimed.size === undefined ? {} : { "x-cas-archive-size": claimed.size }),
    ...(claimed.hash === undefined ? {} : { "x-cas-sha256-tree-hash": claimed.hash }),
  };
  return { method: "POST", target: `/-/vaults/${vault}/multipart-uploads/${id}`, headers };
}

const twoParts = [
  { first: 0, bytes: testBytes(mib) },
  { first: mib, bytes: testBytes(9, mib) },
];
const hashOfTwo = treeHash(testBytes(mib + 9));
const sizeOfTwo = String(mib + 9);

async function order(world: World, body: object | string): Promise<WireRequest> {
  return world.wire.jobRequest(await world.vault(), body);
}

/** An order for an archive of `size` bytes. */
async function retrieval(world: World, size: number, more: object): Promise<WireRequest> {
  const vault = await world.vault();
  const archive = await world.wire.upload(vault, testBytes(size));
  return world.wire.jobRequest(vault, { Type: "archive-retrieval", ArchiveId: archive, ...more });
}

function inventoryOrder(world: World, parameters: object, more: object = {}): Promise<WireRequest> {
  return order(world, { Type: "inventory-retrieval", InventoryRetrievalParameters: parameters, ...more });
}

async function output(world: World, headers: Readonly<Record<string, string>>): Promise<WireRequest> {
  const vault = await world.vault();
  const archive = await world.wire.upload(vault, testBytes(1000));
  const job = await world.wire.startJob(vault, { Type: "archive-retrieval", ArchiveId: archive });
  await world.finishJobs();
  return { method: "GET", target: `/-/vaults/${vault}/jobs/${job}/output`, headers };
}

async function body(world: World, method: string, resource: string, text: string): Promise<WireRequest> {
  return { method, target: `/-/vaults/${await world.vault()}/${resource}`, body: text };
}

function listing(request: Partial<WireRequest>): WireRequest {
  return { method: "GET", target: "/-/vaults", ...request };
}

function withField(wire: WireClient, change: (authorization: string) => string): WireRequest {
  const request: WireRequest = { method: "GET", target: "/-/vaults" };
  return { ...request, authorization: change(wire.sign(request)) };
}

const signatureRows: ErrorRow[] = [
  ...rows(400, "MissingAuthenticationTokenException", {
    "3.4 no Authorization": () => listing({ authorization: null }),
    "3.4 an empty Authorization": () => listing({ authorization: "" }),
    "4.4 no Authorization on an upload": async (world) => ({ ...(await upload(world)), authorization: null }),
  }),
  ...rows(400, "InvalidSignatureException", {
    "3.4 an Authorization of another kind": () => listing({ authorization: "Bearer abc" }),
    "3.1 the algorithm sha256": ({ wire }) => withField(wire, (text) => text.replace("=sha1&", "=sha256&")),
    "3.4 no q-ak": ({ wire }) => withField(wire, (text) => text.replace(/&q-ak=[^&]*/, "")),
    "3.4 no q-signature": ({ wire }) => withField(wire, (text) => text.replace(/&q-signature=.*/, "")),
    "3.4 no q-header-list": ({ wire }) => withField(wire, (text) => text.replace(/&q-header-list=[^&]*/, "")),
    "3.4 no q-key-time": ({ wire }) => withField(wire, (text) => text.replace(/&q-key-time=[^&]*/, "")),
    "3.5 times that are no integers": ({ wire }) =>
      withField(wire, (text) => text.replace(/q-sign-time=\d+/, "q-sign-time=now")),
    "3.5 a window that ends before it begins": ({ wire }) => {
      const now = wire.nowSeconds();
      return { method: "GET", target: "/-/vaults", key: { signTime: `${now + 10};${now - 10}` } };
    },
    "3.4 a signature with another secret": () => listing({ key: { secretKey: "another" } }),
    "3.4 a listed header that was not sent": ({ wire }) =>
      withField(wire, (text) => text.replace("q-header-list=", "q-header-list=range;")),
    "3.4 a listed parameter that was not sent": ({ wire }) =>
      withField(wire, (text) => text.replace("q-url-param-list=", "q-url-param-list=limit")),
    "3.2 a signature of another method": ({ wire }) => {
      const request: WireRequest = { method: "PUT", target: "/-/vaults/stolen" };
      return { ...request, authorization: wire.sign({ ...request, method: "DELETE" }) };
    },
  }),
  ...rows(400, "UnrecognizedClientException", {
    "3.4 an unknown SecretId": () => listing({ key: { secretId: "nobodysSecretId" } }),
  }),
  ...rows(403, "ExpiredTokenException", {
    "3.5 a window that ended before the tolerated skew": (world) => {
      const now = world.wire.nowSeconds();
      return listing({ key: { signTime: `${now - 2000};${now - 301}` } });
    },
    "3.5 a window that begins after the tolerated skew": (world) => {
      const now = world.wire.nowSeconds();
      return listing({ key: { signTime: `${now + 301};${now + 2000}` } });
    },
    "3.5 a key window that is over, though the sign window is not": (world) => {
      const now = world.wire.nowSeconds();
      return listing({ key: { signTime: `${now};${now + 60}`, keyTime: `${now - 9000};${now - 400}` } });
    },
  }),
  ...rows(403, "AccessDeniedException", {
    "1 another account's number that gives no access": () => listing({ target: "/1250000001/vaults" }),
    "16 row 34 a vault of another account": () => listing({ target: "/1250000001/vaults/x" }),
    "8.3 a locked vault refuses to have its lock aborted": async (world) => {
      const vault = await world.vault();
      const target = `/-/vaults/${vault}/lock-policy`;
      const policy = '{"statement":[{"effect":"Deny","action":["name/cas:DeleteArchive"]}]}';
      const locked = await world.wire.send({ method: "POST", target, body: JSON.stringify({ Policy: policy }) });
      await world.wire.send({ method: "POST", target: `${target}/${locked.header("x-cas-lock-id")}` });
      return { method: "DELETE", target };
    },
  }),
];

const addressRows: ErrorRow[] = [
  ...rows(404, "ResourceNotFoundException", {
    "4.3 the root": () => listing({ target: "/" }),
    "4.3 an unknown path": () => listing({ target: "/-/vaultz" }),
    "4.3 a path that is too long": () => listing({ target: "/-/vaults/v/jobs/j/output/x" }),
    "4.3 an unknown vault described": () => listing({ target: "/-/vaults/nobody" }),
    "6.3 an unknown vault deleted": () => listing({ method: "DELETE", target: "/-/vaults/nobody" }),
    "4.3 an unknown vault's archives": ({ wire }) => wire.uploadRequest("nobody", testBytes(5)),
    "4.3 an unknown vault's uploads": () => listing({ target: "/-/vaults/nobody/multipart-uploads" }),
    "4.3 an unknown vault's jobs": () => listing({ target: "/-/vaults/nobody/jobs" }),
    "4.3 a job in an unknown vault": ({ wire }) => wire.jobRequest("nobody", { Type: "inventory-retrieval" }),
    "7 an unknown vault's policy": () => listing({ target: "/-/vaults/nobody/access-policy" }),
    "7 no access policy set": async (world) => body(world, "GET", "access-policy", ""),
    "8.1 no notification configuration set": async (world) => body(world, "GET", "notification-configuration", ""),
    "8.3 no vault lock": async (world) => body(world, "GET", "lock-policy", ""),
    "9.2 an archive that never existed": async (world) => body(world, "DELETE", `archives/${unknownId}`, ""),
    "4.3 an unknown upload's parts": async (world) => body(world, "GET", `multipart-uploads/${unknownId}`, ""),
    "10.6 an unknown upload aborted": async (world) => body(world, "DELETE", `multipart-uploads/${unknownId}`, ""),
    "10.2 a part of an unknown upload": async (world) =>
      world.wire.partRequest(await world.vault(), unknownId, testBytes(5), 0),
    "10.3 an unknown upload completed": async (world) => ({
      ...(await completion(world, [], { size: "5", hash: hashOfTwo })),
      target: `/-/vaults/${await world.vault()}/multipart-uploads/${unknownId}`,
    }),
    "10.6 a completed upload aborted": async (world) => {
      const request = await completion(world, twoParts, { size: sizeOfTwo, hash: hashOfTwo });
      await world.wire.send(request);
      return { method: "DELETE", target: request.target };
    },
    "10.7 an upload after a day without activity": async (world) => {
      const { target } = await part(world);
      await world.server.clock.advance(24 * 3_600_000 + 1000);
      return { method: "GET", target };
    },
    "11.1 a retrieval of an archive that never existed": (world) =>
      order(world, { Type: "archive-retrieval", ArchiveId: unknownId }),
    "4.3 an unknown job described": async (world) => body(world, "GET", `jobs/${unknownId}`, ""),
    "4.3 an unknown job's output": async (world) => body(world, "GET", `jobs/${unknownId}/output`, ""),
    "4.3 the output of an expired job": async (world) => {
      const request = await output(world, {});
      await world.server.clock.advance(25 * 3_600_000);
      return request;
    },
  }),
  ...rows(400, "BadRequest", {
    "4.3 a method that a path does not have": () => listing({ method: "POST", target: "/-/vaults/v" }),
    "4.3 PATCH": () => listing({ method: "PATCH" }),
    "4.3 OPTIONS": () => listing({ method: "OPTIONS" }),
    "4.3 GET on archives": () => listing({ target: "/-/vaults/v/archives" }),
    "6.3 a vault with an archive": async (world) => {
      const vault = await world.vault();
      await world.wire.upload(vault, testBytes(4));
      return { method: "DELETE", target: `/-/vaults/${vault}` };
    },
    "6.3 a vault with an unfinished upload": async (world) => {
      const vault = await world.vault();
      await world.wire.initiateUpload(vault, mib);
      return { method: "DELETE", target: `/-/vaults/${vault}` };
    },
  }),
  ...rows(400, "InvalidParameterValueException", {
    "5 a vault's name of 256 characters": () => listing({ method: "PUT", target: `/-/vaults/${"a".repeat(256)}` }),
    "16 row 32 the vault name .": () => listing({ method: "PUT", target: "/-/vaults/." }),
    "16 row 32 the vault name ..": () => listing({ method: "PUT", target: "/-/vaults/.." }),
    "16 row 32 the vault name .. in escapes": () => listing({ method: "PUT", target: "/-/vaults/%2e%2E" }),
    "5 a slash in a vault's name": () => listing({ method: "PUT", target: "/-/vaults/a%2Fb" }),
    "5 a blank in a vault's name": () => listing({ method: "PUT", target: "/-/vaults/a%20b" }),
    "5 letters beyond ASCII in a vault's name": () => listing({ method: "PUT", target: "/-/vaults/%E5%BD%92" }),
    "5 no vault's name": () => listing({ method: "PUT", target: "/-/vaults//" }),
    "6.5 limit 0": () => listing({ target: "/-/vaults?limit=0" }),
    "16 row 42 limit 1001": () => listing({ target: "/-/vaults?limit=1001" }),
    "6.5 a negative limit": () => listing({ target: "/-/vaults?limit=-1" }),
    "6.5 a limit that is no number": () => listing({ target: "/-/vaults?limit=ten" }),
    "6.5 a limit of uploads above 1000": async (world) => body(world, "GET", "multipart-uploads?limit=1001", ""),
    "6.5 a limit header above 1000": async (world) => ({
      ...(await body(world, "GET", "multipart-uploads", "")),
      headers: { limit: "1001" },
    }),
    "11.3 a limit of jobs above 1000": async (world) => body(world, "GET", "jobs?limit=1001", ""),
    "11.3 completed neither true nor false": async (world) => body(world, "GET", "jobs?completed=maybe", ""),
    "11.3 an unknown statuscode": async (world) => body(world, "GET", "jobs?statuscode=Done", ""),
    "10.4 a parts marker that is no offset": async (world) => {
      const { target } = await part(world);
      return { method: "GET", target: `${target}?marker=abc` };
    },
  }),
];

const uploadRows: ErrorRow[] = [
  ...rows(400, "MissingParameterValueException", {
    "4.3 Content-Length missing on an upload": async (world) => ({
      ...(await upload(world)),
      body: "",
      withoutLength: true,
    }),
    "4.3 Content-Length missing on a part": async (world) => ({
      ...(await part(world)),
      body: "",
      withoutLength: true,
    }),
    "4.3 no x-cas-content-sha256": (world) => upload(world, "x-cas-content-sha256"),
    "4.3 no x-cas-sha256-tree-hash": (world) => upload(world, "x-cas-sha256-tree-hash"),
    "4.3 no x-cas-content-sha256 on a part": async (world) =>
      changed(await part(world), "x-cas-content-sha256", undefined),
    "4.3 no x-cas-sha256-tree-hash on a part": async (world) =>
      changed(await part(world), "x-cas-sha256-tree-hash", undefined),
    "4.3 no Content-Range on a part": async (world) => changed(await part(world), "Content-Range", undefined),
    "4.3 no x-cas-part-size": (world) => initiate(world, undefined),
    "4.3 no x-cas-archive-size": (world) => completion(world, twoParts, { hash: hashOfTwo }),
    "4.3 no tree hash at Complete": (world) => completion(world, twoParts, { size: sizeOfTwo }),
  }),
  ...rows(400, "InvalidDigest", {
    "4.3 another SHA-256": (world) => upload(world, "x-cas-content-sha256", "0".repeat(64)),
    "4.3 another tree hash": (world) => upload(world, "x-cas-sha256-tree-hash", "0".repeat(64)),
    "4.3 another SHA-256 of a part": async (world) =>
      changed(await part(world), "x-cas-content-sha256", "0".repeat(64)),
    "16 row 7 another tree hash of a part": async (world) =>
      changed(await part(world), "x-cas-sha256-tree-hash", "0".repeat(64)),
    "4.3 another tree hash at Complete": (world) =>
      completion(world, twoParts, { size: sizeOfTwo, hash: "0".repeat(64) }),
    "13.2 the Node SDK's tree hash, which drops the last partial MiB": async (world) => {
      const content = testBytes(mib + 100);
      const claimed = { "x-cas-sha256-tree-hash": treeHash(content.subarray(0, mib)) };
      return world.wire.uploadRequest(await world.vault(), content, claimed);
    },
  }),
  ...rows(400, "InvalidParameterValueException", {
    "4.3 a hash of 63 digits": (world) => upload(world, "x-cas-content-sha256", "a".repeat(63)),
    "4.3 a hash that is not hex": (world) => upload(world, "x-cas-sha256-tree-hash", "g".repeat(64)),
    "4.3 a zero-byte archive": async (world) => world.wire.uploadRequest(await world.vault(), Buffer.alloc(0)),
    "4.3 a zero-byte part": async (world) => ({
      ...changed(await part(world), "Content-Range", "bytes 0-0/*"),
      body: Buffer.alloc(0),
    }),
    "5 a description of 1025 bytes": (world) => upload(world, "x-cas-archive-description", "d".repeat(1025)),
    "5 a description of 1025 bytes of a multipart upload": (world) => initiate(world, String(mib), "d".repeat(1025)),
    "5 a description of 1026 bytes in 342 characters": (world) =>
      upload(world, "x-cas-archive-description", Buffer.from("归".repeat(342)).toString("latin1")),
    "10.1 a part size below 1 MiB": (world) => initiate(world, String(mib / 2)),
    "10.1 a part size of 8 GiB": (world) => initiate(world, String(8192 * mib)),
    "16 row 2 a part size of 48 MiB": (world) => initiate(world, String(48 * mib)),
    "10.1 a part size of 1 MiB and a byte": (world) => initiate(world, String(mib + 1)),
    "10.1 a part size that is no number": (world) => initiate(world, "16M"),
    "10.1 a part size of 0": (world) => initiate(world, "0"),
    "10.2 a part that does not begin at a multiple of the part size": (world) => part(world, { first: 5 }),
    "10.2 a part larger than the part size": (world) => part(world, { size: mib + 1 }),
    "10.2 part number 10000": (world) => part(world, { first: 10_000 * mib }),
    "10.2 a Content-Range of another length": async (world) =>
      changed(await part(world), "Content-Range", "bytes 0-10/*"),
    "10.2 a Content-Range that is none": async (world) => changed(await part(world), "Content-Range", "0-9"),
    "10.2 a Content-Range that ends before it begins": async (world) =>
      changed(await part(world), "Content-Range", "bytes 9-0/*"),
    "10.3 another size": (world) => completion(world, twoParts, { size: "1048586", hash: hashOfTwo }),
    "10.3 a size that is no number": (world) => completion(world, twoParts, { size: "1e6", hash: hashOfTwo }),
    "10.3 a gap before the first part": (world) =>
      completion(world, [twoParts[1]!], { size: "9", hash: treeHash(testBytes(9, mib)) }),
    "10.3 a gap between two parts": (world) =>
      completion(world, [twoParts[0]!, { first: 2 * mib, bytes: testBytes(9) }], { size: sizeOfTwo, hash: hashOfTwo }),
    "10.2 a short part that is not the last": (world) =>
      completion(world, [{ first: 0, bytes: testBytes(9) }, twoParts[1]!], { size: "18", hash: hashOfTwo }),
    "10.3 no part at all": (world) => completion(world, [], { size: "0", hash: hashOfTwo }),
    "10.3 a hash that is not hex": (world) => completion(world, twoParts, { size: sizeOfTwo, hash: "x".repeat(64) }),
  }),
];

const jobRows: ErrorRow[] = [
  ...rows(400, "SerializationException", {
    "4.3 a job that is no JSON": (world) => order(world, "{"),
    "4.3 a job without a body": (world) => order(world, ""),
    "4.3 a job that is an array": (world) => order(world, "[]"),
    "4.3 a job that is not UTF-8": async (world) => ({
      ...(await order(world, "")),
      body: Buffer.from([0x22, 0xff, 0x22]),
    }),
    "4.3 an access policy that is no JSON": (world) => body(world, "PUT", "access-policy", "policy"),
    "4.3 a notification configuration that is no JSON": (world) =>
      body(world, "PUT", "notification-configuration", "<x/>"),
    "4.3 a lock policy that is no JSON": (world) => body(world, "POST", "lock-policy", "'"),
  }),
  ...rows(400, "MissingParameterValueException", {
    "4.3 a job without Type": (world) => order(world, { ArchiveId: unknownId }),
    "4.3 a job with an empty Type": (world) => order(world, { Type: "" }),
    "4.3 a retrieval without ArchiveId": (world) => order(world, { Type: "archive-retrieval" }),
    "7 no policy": (world) => body(world, "PUT", "access-policy", "{}"),
    "8.1 no Events": (world) => body(world, "PUT", "notification-configuration", '{"CallBackUrl":"http://x/"}'),
    "8.1 no CallBackUrl": (world) =>
      body(world, "PUT", "notification-configuration", '{"Events":["ArchiveRetrievalCompleted"]}'),
    "8.3 no Policy": (world) => body(world, "POST", "lock-policy", "{}"),
  }),
  ...rows(400, "InvalidParameterValueException", {
    "4.3 an unknown Type": (world) => order(world, { Type: "archive-removal" }),
    "4.3 an unknown Tier": (world) => retrieval(world, 9, { Tier: "Fast" }),
    "4.3 an unknown Format": (world) => inventoryOrder(world, {}, { Format: "XML" }),
    "4.3 a date that is none": (world) => inventoryOrder(world, { StartDate: "yesterday" }),
    "4.3 Limit 0": (world) => inventoryOrder(world, { Limit: 0 }),
    "4.3 Limit 10001": (world) => inventoryOrder(world, { Limit: "10001" }),
    "4.3 a Limit that is no number": (world) => inventoryOrder(world, { Limit: "ten" }),
    "4.3 an unaligned range": (world) => retrieval(world, 2 * mib, { RetrievalByteRange: "1-1048576" }),
    "4.3 an unaligned end": (world) => retrieval(world, 2 * mib, { RetrievalByteRange: "0-1048574" }),
    "4.3 a range beyond the end": (world) => retrieval(world, 2 * mib, { RetrievalByteRange: "0-3145727" }),
    "4.3 a range that begins at the end": (world) => retrieval(world, mib, { RetrievalByteRange: "1048576-" }),
    "4.3 a range that is none": (world) => retrieval(world, mib, { RetrievalByteRange: "bytes=0-1048575" }),
    "4.3 a range that ends before it begins": (world) => retrieval(world, mib, { RetrievalByteRange: "5-0" }),
    "11.1 a CallBackUrl that is no http(s)": (world) => retrieval(world, 9, { CallBackUrl: "ftp://x/" }),
    "5 a job description of 1025 bytes": (world) => retrieval(world, 9, { Description: "d".repeat(1025) }),
    "11.1 push-to-cos without an object store": async (world) => {
      const vault = await world.vault();
      const ArchiveId = await world.wire.upload(vault, testBytes(5));
      return world.wire.jobRequest(vault, { Type: "push-to-cos", ArchiveId, Bucket: "bucket.example", Object: "o/k" });
    },
    "11.1 pull-from-cos without an object store": (world) =>
      order(world, { Type: "pull-from-cos", Bucket: "bucket.example", Object: "o/k" }),
    "7 a policy that is no JSON text": (world) => body(world, "PUT", "access-policy", '{"policy":"{"}'),
    "7 a policy of more than 20 KiB": (world) =>
      body(world, "PUT", "access-policy", JSON.stringify({ policy: JSON.stringify({ version: "x".repeat(21_000) }) })),
    "8.1 a CallBackUrl that is no http(s)": (world) =>
      body(world, "PUT", "notification-configuration", '{"CallBackUrl":"file:///x","Events":["PushToCOSCompleted"]}'),
    "8.1 an unknown event": (world) =>
      body(world, "PUT", "notification-configuration", '{"CallBackUrl":"http://x/","Events":["Done"]}'),
    "16 row 24 the output of a job in progress": async (world) => {
      const vault = await world.vault();
      const job = await world.wire.startJob(vault, { Type: "inventory-retrieval" });
      return { method: "GET", target: `/-/vaults/${vault}/jobs/${job}/output` };
    },
    "4.3 the output of a failed job": async (world) => {
      const vault = await world.vault();
      const archive = await world.wire.upload(vault, testBytes(9));
      await world.wire.send({ method: "DELETE", target: `/-/vaults/${vault}/archives/${archive}` });
      const job = await world.wire.startJob(vault, { Type: "archive-retrieval", ArchiveId: archive });
      await world.finishJobs();
      return { method: "GET", target: `/-/vaults/${vault}/jobs/${job}/output` };
    },
    ...Object.fromEntries(
      ["bytes=1000-", "bytes=1000-2000", "bytes=5-4", "bytes=0-1,3-4", "bytes=-", "bytes=-0", "0-5", "chunks=0-5"].map(
        (range) => [`16 row 23 Range: ${range} of 1000 bytes`, (world: World) => output(world, { Range: range })],
      ),
    ),
  }),
];

export const errorRows: readonly ErrorRow[] = [...signatureRows, ...addressRows, ...uploadRows, ...jobRows];

/** Codes that take a server of their own; the tests of those names are in `errors.test.ts`. */
export const codesWithTestsOfTheirOwn: readonly WireErrorCode[] = [
  "LimitExceededException",
  "RequestTimeoutException",
  "ServiceUnavailableException",
];

/** Codes of the table in section 4.2 that this server has no reason to send; fault plans of tests inject them. */
export const codesNeverSent: readonly WireErrorCode[] = [
  "PolicyEnforcedException",
  "ThrottlingException",
  "InsufficientCapacityException",
];
