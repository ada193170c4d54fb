/** Puts answers on the wire: headers of every response, JSON, streams with backpressure, errors (cas-api 2.2, 2.3, 4). */

import type { ServerResponse } from "node:http";
import { CorruptError } from "../../domain/errors.js";
import { formatError, type WireErrorCode } from "../../protocol/error-wire.js";
import type { Answer } from "./exchange.js";
import type { RequestBody } from "./request-body.js";

// A client that sends its whole body before it reads the answer, whatever part of it we looked at, gets the answer.
const discardBytesMax = 64 * 1024 * 1024;

export async function writeAnswer(response: ServerResponse, answer: Answer): Promise<void> {
  if (answer.output !== undefined) {
    await writeOutput(response, answer, answer.output);
    return;
  }
  if (answer.json === undefined) {
    // 204 has no Content-Length (RFC 9110, 8.6); Node leaves it out.
    response.writeHead(
      answer.status,
      answer.status === 204 ? answer.headers : { ...answer.headers, "content-length": "0" },
    );
    response.end();
    return;
  }
  writeJson(response, answer.status, answer.json, answer.headers);
}

/** Answers an error once the client has sent its body, or is known to send on while the answer waits for it (4.4). */
export async function writeError(
  response: ServerResponse,
  body: RequestBody,
  error: { readonly code: WireErrorCode; readonly message: string },
): Promise<void> {
  if (!body.signal.aborted) await body.discard(discardBytesMax);
  if (response.headersSent || response.destroyed) {
    response.destroy();
    return;
  }
  const { status, body: json } = formatError(error.code, error.message);
  const nothingMoreComes = body.signal.aborted || body.isHeldBack;
  writeJson(response, status, json, nothingMoreComes ? { connection: "close" } : {});
}

/** The answer to bytes that Node's parser gave up on, when there is no response object to write to. */
export function rawErrorAnswer(code: WireErrorCode, message: string, requestId: string): string {
  const { status, body } = formatError(code, message);
  const text = JSON.stringify(body);
  return [
    `HTTP/1.1 ${status} ${code}`,
    `x-cas-requestId: ${requestId}`,
    "Content-Type: application/json",
    `Content-Length: ${Buffer.byteLength(text)}`,
    "Connection: close",
    "",
    text,
  ].join("\r\n");
}

/** The type is exact: clients compare the text (2.3). */
function writeJson(response: ServerResponse, status: number, json: object, headers: Answer["headers"]): void {
  const body = Buffer.from(JSON.stringify(json), "utf8");
  response.writeHead(status, {
    ...headers,
    "content-type": "application/json",
    "content-length": String(body.length),
  });
  response.end(body);
}

async function writeOutput(response: ServerResponse, answer: Answer, output: AsyncIterable<Buffer>): Promise<void> {
  let sentBytes = 0;
  for await (const chunk of output) {
    if (response.destroyed) return;
    // Not before there is something to send: until then a failure can still be answered.
    if (sentBytes === 0) response.writeHead(answer.status, answer.headers);
    sentBytes += chunk.length;
    await sent(response, chunk);
  }
  const sizeBytes = Number(answer.headers?.["content-length"]);
  // The bytes can only be fewer when they were deleted between the lookup and the first read.
  if (sentBytes !== sizeBytes) throw new CorruptError(`The output has ${sentBytes} bytes instead of ${sizeBytes}`);
  response.end();
}

/** Resolves when the system has taken all of `chunk`, which is only lent, or when the response is closed. */
function sent(response: ServerResponse, chunk: Buffer): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      response.off("close", done);
      resolve();
    };
    response.on("close", done);
    response.write(chunk, done);
  });
}
