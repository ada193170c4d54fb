/** An answer of the service as it came: status, headers, and a body that is still to be read. */

import { text as textOf } from "node:stream/consumers";
import type { StreamedAnswer } from "../client/http-transport.js";
import { sdkErrorOf } from "./cas-errors.js";

/** Read the body, or call `discard()`: until then the answer holds a connection. */
export interface RawResponse {
  /** HTTP status, whatever it is. */
  readonly status: number;
  /** The service's id of the request (`x-cas-requestId`), to be named in questions to its support; `""` without one. */
  readonly requestId: string;
  /** Lowercase names. */
  readonly headers: Readonly<Record<string, string>>;
  /** Can be read once. Breaking off closes the connection. @throws CASClientError while reading when it breaks. */
  readonly body: AsyncIterable<Uint8Array>;
  /** The whole body as UTF-8. */
  text(): Promise<string>;
  /** The whole body as JSON. @throws SyntaxError when it is not. */
  json(): Promise<unknown>;
  /** Lets go of a body that nobody wants. */
  discard(): Promise<void>;
}

export async function rawResponse(answer: StreamedAnswer): Promise<RawResponse> {
  const { status, headerRecord: headers } = answer;
  const body = withSdkErrorsWhileReading(answer.body);
  const text = () => textOf(body);
  const response: RawResponse = {
    status,
    requestId: headers["x-cas-requestid"] ?? "",
    headers,
    body,
    text,
    json: async () => JSON.parse(await text()),
    discard: async () => {
      await body[Symbol.asyncIterator]().return?.();
    },
  };
  // Who gets a 204 does not think of reading it.
  if (status === 204 || headers["content-length"] === "0") await text();
  return response;
}

function withSdkErrorsWhileReading(body: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> {
  const pieces = body[Symbol.asyncIterator]();
  const iterator: AsyncIterator<Uint8Array> = {
    next: () =>
      pieces.next().catch((error: unknown) => {
        throw sdkErrorOf(error);
      }),
    return: async () => (await pieces.return?.()) ?? { done: true, value: undefined },
  };
  return { [Symbol.asyncIterator]: () => iterator };
}
