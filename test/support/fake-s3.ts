/**
 * An object store with the few S3 operations that the service uses, in memory; it checks every signature itself.
 *
 * Faults are scripted: `fail` answers the next matching requests with an error, `cut` breaks their connection.
 */

import { createHash, createHmac } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export interface StoredObject {
  readonly bytes: Buffer;
  readonly etag: string;
  readonly modifiedAt: Date;
}

interface Upload {
  readonly path: string;
  readonly parts: Map<number, Buffer>;
}

interface S3Request {
  readonly method: string;
  readonly url: URL;
  readonly headers: IncomingMessage["headers"];
  readonly body: Buffer;
}

interface Fault {
  readonly matches: (request: { readonly method: string; readonly url: URL }) => boolean;
  readonly act: (response: ServerResponse) => void;
  left: number;
}

export const s3Keys = { keyId: "S3-ID", key: "S3-SECRET" };

export class FakeS3 implements AsyncDisposable {
  /** By `/bucket/key`. */
  readonly objects = new Map<string, StoredObject>();
  readonly uploads = new Map<string, Upload>();
  /** `METHOD /path?query` of every request. */
  readonly log: string[] = [];
  /** Called when a request arrives, before it is looked at. */
  onRequest: (method: string) => void = () => undefined;
  readonly #server: Server;
  readonly #faults: Fault[] = [];
  #uploadCount = 0;

  private constructor() {
    this.#server = createServer((request, response) => void this.#serve(request, response));
  }

  static async start(): Promise<FakeS3> {
    const fake = new FakeS3();
    await new Promise<void>((resolve) => fake.#server.listen(0, "127.0.0.1", resolve));
    return fake;
  }

  get endpoint(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  store(path: string, bytes: Buffer, modifiedAt = new Date("2024-01-01T00:00:00Z")): void {
    this.objects.set(path, { bytes, etag: createHash("md5").update(bytes).digest("hex"), modifiedAt });
  }

  fail(method: string, { status = 500, times = 1 } = {}): void {
    const act = (response: ServerResponse) => {
      response.writeHead(status).end("<Error><Code>Scripted</Code></Error>");
    };
    this.#faults.push({ matches: (request) => request.method === method, act, left: times });
  }

  /** Leaves the next request of that kind without an answer. */
  hang(method: string): void {
    this.#faults.push({ matches: (request) => request.method === method, act: () => undefined, left: 1 });
  }

  cut(method: string, times = 1): void {
    const act = (response: ServerResponse) => response.destroy();
    this.#faults.push({ matches: (request) => request.method === method, act, left: times });
  }

  expectAllFaultsHit(): void {
    if (this.#faults.some((fault) => fault.left > 0)) throw new Error("A scripted fault was not hit");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? "/", this.endpoint);
    const method = request.method ?? "";
    this.log.push(`${method} ${request.url}`);
    this.onRequest(method);
    // Hit by the request as such, even when its body never arrives.
    const fault = this.#faults.find((each) => each.left > 0 && each.matches({ method, url }));
    if (fault !== undefined) fault.left -= 1;
    const chunks: Buffer[] = [];
    try {
      for await (const chunk of request) chunks.push(chunk as Buffer);
    } catch {
      return;
    }
    const body = Buffer.concat(chunks);
    if (fault !== undefined) {
      fault.act(response);
      return;
    }
    const wrong = signatureFault(request, url, body);
    if (wrong !== undefined) {
      response.writeHead(403).end(`<Error><Code>SignatureDoesNotMatch</Code><Message>${wrong}</Message></Error>`);
      return;
    }
    this.#answer({ method, url, headers: request.headers, body }, response);
  }

  #answer({ method, url, headers, body }: S3Request, response: ServerResponse): void {
    const path = decodeURIComponent(url.pathname);
    const query = url.searchParams;
    if (method === "HEAD" || method === "GET") this.#read(path, { method, headers }, response);
    else if (query.has("uploadId")) this.#answerUpload(path, { method, url, headers, body }, response);
    else if (method === "POST" && query.has("uploads")) this.#begin(path, response);
    else if (method === "PUT") this.#put(path, body, response);
    else response.writeHead(400).end();
  }

  #answerUpload(path: string, { method, url, body }: S3Request, response: ServerResponse): void {
    const uploadId = url.searchParams.get("uploadId") ?? "";
    const upload = this.uploads.get(uploadId);
    if (upload === undefined || upload.path !== path) {
      response.writeHead(404).end("<Error><Code>NoSuchUpload</Code></Error>");
    } else if (method === "PUT") {
      upload.parts.set(Number(url.searchParams.get("partNumber")), body);
      response.writeHead(200, { etag: `"${createHash("md5").update(body).digest("hex")}"` }).end();
    } else if (method === "DELETE") {
      this.uploads.delete(uploadId);
      response.writeHead(204).end();
    } else this.#complete(uploadId, upload, body.toString(), response);
  }

  #read(path: string, { method, headers }: Pick<S3Request, "method" | "headers">, response: ServerResponse): void {
    const found = this.objects.get(path);
    const tag = `"${found?.etag}"`;
    if (found === undefined || (headers["if-match"] ?? tag) !== tag) {
      response.writeHead(found === undefined ? 404 : 412).end();
      return;
    }
    const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(headers.range ?? "") ?? [];
    const part = first === undefined ? found.bytes : found.bytes.subarray(Number(first), Number(last) + 1);
    response.writeHead(first === undefined ? 200 : 206, {
      etag: tag,
      "last-modified": found.modifiedAt.toUTCString(),
      "content-length": String(part.length),
    });
    response.end(method === "HEAD" ? undefined : part);
  }

  #begin(path: string, response: ServerResponse): void {
    const id = `upload-${++this.#uploadCount}&<>`;
    this.uploads.set(id, { path, parts: new Map() });
    const text = id.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
    response
      .writeHead(200)
      .end(`<InitiateMultipartUploadResult><UploadId>${text}</UploadId></InitiateMultipartUploadResult>`);
  }

  #put(path: string, bytes: Buffer, response: ServerResponse): void {
    this.store(path, bytes);
    response.writeHead(200, { etag: `"${this.objects.get(path)?.etag}"` }).end();
  }

  #complete(id: string, { path, parts }: Upload, xml: string, response: ServerResponse): void {
    const listed = [...xml.matchAll(/<PartNumber>(\d+)<\/PartNumber><ETag>([^<]*)<\/ETag>/g)];
    const bytes = listed.map(([, number, tag]) => {
      const part = parts.get(Number(number));
      const matches = part !== undefined && tag?.includes(createHash("md5").update(part).digest("hex"));
      return matches ? part : undefined;
    });
    if (bytes.includes(undefined) || bytes.length !== parts.size) {
      response.writeHead(400).end("<Error><Code>InvalidPart</Code></Error>");
      return;
    }
    this.store(path, Buffer.concat(bytes as Buffer[]));
    this.uploads.delete(id);
    response.writeHead(200).end("<CompleteMultipartUploadResult/>");
  }
}

/** What is wrong with the request's signature, computed as the documents of the S3 API say; undefined when nothing is. */
function signatureFault(request: IncomingMessage, url: URL, body: Buffer): string | undefined {
  const shape =
    /^AWS4-HMAC-SHA256 Credential=([^/]+)\/(\d{8})\/([^/]+)\/s3\/aws4_request, SignedHeaders=([^,]+), Signature=(\w+)$/;
  const [, keyId, date, region, signedHeaders = "", signature] = shape.exec(request.headers.authorization ?? "") ?? [];
  if (keyId !== s3Keys.keyId || date === undefined || region === undefined) return "no signature of ours";
  const claimed = String(request.headers["x-amz-content-sha256"]);
  if (claimed !== sha256(body)) return "the hash of the body differs";
  const names = signedHeaders.split(";");
  if (!names.includes("host") || !names.includes("x-amz-content-sha256")) return "too little is signed";
  const canonical = [
    request.method,
    url.pathname
      .split("/")
      .map((step) => strictlyEscaped(decodeURIComponent(step)))
      .join("/"),
    [...url.searchParams]
      .map((pair) => pair.map(strictlyEscaped).join("="))
      .sort()
      .join("&"),
    ...names.map((name) => `${name}:${String(request.headers[name]).trim()}`),
    "",
    signedHeaders,
    claimed,
  ].join("\n");
  const scope = `${date}/${region}/s3/aws4_request`;
  const text = ["AWS4-HMAC-SHA256", request.headers["x-amz-date"], scope, sha256(Buffer.from(canonical))].join("\n");
  const key = [date, region, "s3", "aws4_request"].reduce<Buffer | string>(
    (secret, step) => createHmac("sha256", secret).update(step).digest(),
    `AWS4${s3Keys.key}`,
  );
  const expected = createHmac("sha256", key).update(text).digest("hex");
  return expected === signature ? undefined : "the signature differs";
}

function sha256(bytes: Buffer): string {
  return createHash("sha256").update(bytes).digest("hex");
}

function strictlyEscaped(text: string): string {
  return encodeURIComponent(text).replace(/[!'()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`);
}
