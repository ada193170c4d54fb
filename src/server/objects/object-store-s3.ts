/**
 * An object store that speaks the S3 API, as COS itself does: path-style addresses, Signature Version 4.
 *
 * Relies on: aws4fetch for the signatures. Bytes are streamed; each request carries the SHA-256 of its body, which is
 * read twice for it, so that the store refuses what was damaged on the way even where the connection is not encrypted.
 * Large objects are sent in parts; what fails is aborted, and nothing is visible before the last step. Parts that were
 * sent before the process was killed are left to the bucket's own rule for incomplete uploads.
 */

import { createHash } from "node:crypto";
import { Readable } from "node:stream";
import { AwsV4Signer } from "aws4fetch";
import { Agent, type Dispatcher, request } from "undici";
import { type ByteRange, byteRange, GIB, MIB, rangeLength, splitRange } from "../../domain/bytes.js";
import type { Instant } from "../../domain/time.js";
import {
  type ObjectName,
  type ObjectSource,
  type ObjectStore,
  type ObjectStoreChoice,
  ObjectStoreError,
  type ObjectVersion,
  type PutOptions,
} from "./object-store.js";

type S3Choice = Extract<ObjectStoreChoice, { readonly kind: "s3" }>;
type Method = "GET" | "HEAD" | "PUT" | "POST" | "DELETE";

interface S3Request {
  readonly method: Method;
  readonly name: ObjectName;
  readonly query?: Readonly<Record<string, string>>;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: S3Body;
  readonly signal: AbortSignal | undefined;
}

interface S3Body {
  readonly sizeBytes: number;
  readonly sha256: string;
  open(): AsyncIterable<Buffer>;
}

const emptySha256 = createHash("sha256").digest("hex");
const partSizeBytesMin = 16 * MIB;
const partCountMax = 10_000;
const partAttemptsMax = 3;
/** Above this an object is sent in parts. */
const singlePutBytesMax = 64 * MIB;
const answerBytesMax = 1 * MIB;
const stallMs = 100_000;

export class S3ObjectStore implements ObjectStore {
  readonly #choice: S3Choice;
  readonly #agent = new Agent({ headersTimeout: stallMs, bodyTimeout: stallMs, connectTimeout: 10_000 });

  constructor(choice: S3Choice) {
    this.#choice = choice;
  }

  async find(name: ObjectName, signal: AbortSignal): Promise<ObjectVersion | undefined> {
    const response = await this.#send({ method: "HEAD", name, signal });
    await response.body.dump();
    if (response.statusCode === 404) return undefined;
    checkStatus(response.statusCode, 200, "");
    const tag = headerOf(response, "etag");
    const sizeBytes = Number(headerOf(response, "content-length"));
    const modifiedAt = Date.parse(headerOf(response, "last-modified")) as Instant;
    if (!Number.isSafeInteger(sizeBytes) || Number.isNaN(modifiedAt) || tag === "") throw garbled();
    return { sizeBytes, modifiedAt, version: tag, etag: async () => tag.replace(/^"(.*)"$/, "$1") };
  }

  async *read(
    name: ObjectName,
    { version }: ObjectVersion,
    range: ByteRange,
    signal: AbortSignal,
  ): AsyncGenerator<Buffer, void, undefined> {
    const headers = { range: `bytes=${range.start}-${range.end - 1}`, "if-match": version };
    const response = await this.#send({ method: "GET", name, headers, signal });
    if (response.statusCode !== 206) {
      const answer = await textOf(response);
      // The object has been replaced, or has gone.
      if ([404, 412].includes(response.statusCode)) throw new ObjectStoreError("The object has changed", "changed");
      throw refused(response.statusCode, answer);
    }
    let sizeBytes = 0;
    for await (const chunk of response.body as AsyncIterable<Buffer>) {
      sizeBytes += chunk.length;
      yield chunk;
    }
    if (sizeBytes !== rangeLength(range)) throw new ObjectStoreError("The object store sent too little", "transient");
  }

  async put(name: ObjectName, source: ObjectSource, { signal }: PutOptions): Promise<void> {
    const whole = byteRange(0, source.sizeBytes);
    if (source.sizeBytes <= singlePutBytesMax) {
      const response = await this.#send({ method: "PUT", name, body: await bodyOf(source, whole), signal });
      checkStatus(response.statusCode, 200, await textOf(response));
      return this.#checkStored(name, source, signal);
    }
    const uploadId = await this.#beginUpload(name, signal);
    try {
      await this.#completeUpload(name, uploadId, await this.#putParts(name, source, { uploadId, signal }), signal);
    } catch (error) {
      // Even when the copy itself was cut short: parts that nobody sees would be kept, and billed, for ever.
      await this.#abortUpload(name, uploadId).catch(() => undefined);
      throw error;
    }
    await this.#checkStored(name, source, signal);
  }

  async close(): Promise<void> {
    await this.#agent.destroy();
  }

  async #checkStored(name: ObjectName, { sizeBytes }: ObjectSource, signal: AbortSignal): Promise<void> {
    const stored = await this.find(name, signal);
    if (stored?.sizeBytes !== sizeBytes) {
      throw new ObjectStoreError("The object has another size than was sent", "transient");
    }
  }

  async #beginUpload(name: ObjectName, signal: AbortSignal): Promise<string> {
    const response = await this.#send({ method: "POST", name, query: { uploads: "" }, signal });
    const answer = await textOf(response);
    checkStatus(response.statusCode, 200, answer);
    const uploadId = elementOf(answer, "UploadId");
    if (uploadId === undefined) throw garbled();
    return uploadId;
  }

  /** Returns the entity tags of the parts, in order. One part at a time: a copy is not in a hurry. */
  async #putParts(
    name: ObjectName,
    source: ObjectSource,
    { uploadId, signal }: { readonly uploadId: string; readonly signal: AbortSignal },
  ): Promise<string[]> {
    const tags: string[] = [];
    for (const part of splitRange(byteRange(0, source.sizeBytes), partSizeBytes(source.sizeBytes))) {
      const query = { partNumber: String(tags.length + 1), uploadId };
      const body = await bodyOf(source, part);
      tags.push(await this.#putPart({ method: "PUT", name, query, body, signal }));
    }
    return tags;
  }

  /** Tried a few times by itself: thousands of other parts should not have to be sent again for this one. */
  async #putPart(part: S3Request): Promise<string> {
    for (let attempt = 1; ; attempt++) {
      try {
        const response = await this.#send(part);
        checkStatus(response.statusCode, 200, await textOf(response));
        return headerOf(response, "etag");
      } catch (error) {
        const isWorthIt = error instanceof ObjectStoreError && error.kind === "transient";
        if (!isWorthIt || attempt >= partAttemptsMax) throw error;
      }
    }
  }

  async #completeUpload(name: ObjectName, uploadId: string, tags: readonly string[], signal: AbortSignal) {
    const parts = tags.map(
      (tag, index) => `<Part><PartNumber>${index + 1}</PartNumber><ETag>${escaped(tag)}</ETag></Part>`,
    );
    const xml = `<CompleteMultipartUpload>${parts.join("")}</CompleteMultipartUpload>`;
    const response = await this.#send({ method: "POST", name, query: { uploadId }, body: textBody(xml), signal });
    const answer = await textOf(response);
    checkStatus(response.statusCode, 200, answer);
    // This request alone may fail after a status of 200 was sent.
    if (/<Error>/.test(answer)) throw refused(500, answer);
  }

  async #abortUpload(name: ObjectName, uploadId: string): Promise<void> {
    const signal = AbortSignal.timeout(stallMs);
    const response = await this.#send({ method: "DELETE", name, query: { uploadId }, signal });
    await response.body.dump();
  }

  async #send({ method, name, query, headers, body, signal }: S3Request): Promise<Dispatcher.ResponseData> {
    const url = new URL(`${this.#choice.endpoint}${addressOf(name)}`);
    for (const [key, value] of Object.entries(query ?? {})) url.searchParams.set(key, value);
    const signed = await this.#sign(method, url, { ...headers, "x-amz-content-sha256": body?.sha256 ?? emptySha256 });
    try {
      return await request(url, {
        dispatcher: this.#agent,
        method,
        headers: { ...signed, ...(body === undefined ? {} : { "content-length": String(body.sizeBytes) }) },
        ...(body === undefined ? {} : { body: Readable.from(body.open(), { objectMode: false, highWaterMark: MIB }) }),
        ...(signal === undefined ? {} : { signal }),
      });
    } catch (cause) {
      if (signal?.aborted) throw signal.reason;
      throw new ObjectStoreError("The object store cannot be reached", "transient", { cause });
    }
  }

  async #sign(method: Method, url: URL, headers: Readonly<Record<string, string>>): Promise<Record<string, string>> {
    const signer = new AwsV4Signer({
      method,
      url: url.href,
      headers: { ...headers },
      accessKeyId: this.#choice.keyId,
      secretAccessKey: this.#choice.key,
      service: "s3",
      region: this.#choice.region ?? "us-east-1",
    });
    return Object.fromEntries((await signer.sign()).headers);
  }
}

/** The whole name of a COS bucket is a domain name, `NAME-APPID.cos.REGION.myqcloud.com`; its first label is the bucket. */
function addressOf({ bucket, object }: ObjectName): string {
  const bucketName = bucket.replace(/\.cos\.[a-z0-9-]+\.myqcloud\.com$/, "");
  const path = object.replace(/^\//, "").split("/").map(encodeURIComponent).join("/");
  return `/${bucketName}/${path}`;
}

/** A power of two, as parts of archives are: then each part can be checked against the archive's tree hash. */
function partSizeBytes(sizeBytes: number): number {
  let size = partSizeBytesMin;
  while (size * partCountMax < sizeBytes && size < 4 * GIB) size *= 2;
  return size;
}

async function bodyOf(source: ObjectSource, range: ByteRange): Promise<S3Body> {
  const hash = createHash("sha256");
  for await (const block of source.read(range)) hash.update(block);
  return { sizeBytes: rangeLength(range), sha256: hash.digest("hex"), open: () => source.read(range) };
}

function textBody(text: string): S3Body {
  const bytes = Buffer.from(text, "utf8");
  const sha256 = createHash("sha256").update(bytes).digest("hex");
  return { sizeBytes: bytes.length, sha256, open: () => Readable.from([bytes]) };
}

function headerOf(response: Dispatcher.ResponseData, name: string): string {
  const value = response.headers[name];
  return (Array.isArray(value) ? value[0] : value) ?? "";
}

/** The beginning of an answer: answers of the store are short, and whatever else sits there may send anything. */
async function textOf(response: Dispatcher.ResponseData): Promise<string> {
  const chunks: Buffer[] = [];
  let sizeBytes = 0;
  for await (const chunk of response.body as AsyncIterable<Buffer>) {
    chunks.push(chunk);
    sizeBytes += chunk.length;
    if (sizeBytes > answerBytesMax) break;
  }
  return Buffer.concat(chunks).toString("utf8");
}

function checkStatus(status: number, expected: number, answer: string): void {
  if (status !== expected) throw refused(status, answer);
}

function refused(status: number, answer: string): ObjectStoreError {
  const code = /^[A-Za-z]{1,64}$/.exec(elementOf(answer, "Code") ?? "")?.[0];
  const kind = status >= 500 || status === 408 || status === 429 ? "transient" : "final";
  return new ObjectStoreError(`The object store answered ${status}${code === undefined ? "" : ` (${code})`}`, kind);
}

function garbled(): ObjectStoreError {
  return new ObjectStoreError("The object store sent an answer that cannot be read", "transient");
}

function elementOf(xml: string, name: string): string | undefined {
  const text = new RegExp(`<${name}>([^<]*)</${name}>`).exec(xml)?.[1];
  return text?.replaceAll("&quot;", '"').replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&amp;", "&");
}

function escaped(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
