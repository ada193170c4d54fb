/** The recordings of the official clients as requests on a socket (vectors: signatures, client_requests). */

import { readFileSync } from "node:fs";
import { authorizationOf, type Key, type Pair, python } from "./signer.js";
import { parametersOf } from "./wire-client.js";

export interface SignedCase {
  readonly id: string;
  readonly secret_id: string;
  readonly secret_key?: string;
  readonly sign_key_given?: string;
  readonly now: number;
  readonly key_time: string;
  readonly sign_time: string;
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string | number>>;
  readonly params: Readonly<Record<string, string | number>>;
  readonly request_target_sent_by_the_client?: string | null;
  readonly format_string: string;
  readonly signature: string;
  readonly authorization: string;
}

export interface RecordedRequest {
  readonly call: string;
  readonly method: string;
  readonly target: string;
  readonly headers_except_authorization_and_date: readonly Pair[];
  readonly q_header_list: string;
  readonly q_url_param_list: string;
  readonly body: string;
}

interface Vectors {
  readonly signatures: Readonly<
    Record<"python_sdk" | "node_sdk" | "go_sdk", { readonly cases: readonly SignedCase[] }>
  >;
  readonly client_requests: Readonly<Record<string, { readonly cases: readonly RecordedRequest[] }>>;
  readonly tree_hash: { readonly cases: readonly { size: number; sha256: string; tree_hash: string | null }[] };
}

export const vectors = JSON.parse(
  readFileSync(new URL("../../fixtures/protocol-vectors.json", import.meta.url), "utf8"),
) as Vectors;

/** Node's helper signs values as they are; so its cases say which secret the delegated Go cases belong to. */
export const sharedSecretKey = "exampleSecretKey/with+symbols==";

/** The request of a signature case, its Authorization exactly as recorded. */
export function bytesOfSignedCase(
  { method, path, headers, params, authorization, request_target_sent_by_the_client: sent, id }: SignedCase,
  body: Uint8Array,
): Buffer {
  const query = queryOf(params, id.startsWith("go") ? "+" : "%20");
  const lines = Object.entries(headers).map(([name, value]): Pair => [name, bytesOf(String(value))]);
  const hasLength = lines.some(([name]) => name.toLowerCase() === "content-length");
  return requestBytes(
    method,
    sent ?? path + query,
    [
      ...lines,
      // The signers recorded what is signed; the length of a JSON body is not.
      ...(hasLength ? [] : [["Content-Length", String(body.length)] as const]),
      ["Authorization", authorization],
    ],
    body,
  );
}

/** A recorded request with a signature made as its client makes it. */
export function bytesOfRecording(recorded: RecordedRequest, key: Key): Buffer {
  const { method, target, q_header_list: headerList, q_url_param_list: parameterList } = recorded;
  const [path = "", query = ""] = target.split("?");
  const lines = recorded.headers_except_authorization_and_date;
  // Of two Host lines the second is the signed one (15.1).
  const signedValue = (name: string) => lines.findLast(([other]) => other.toLowerCase() === name)?.[1] ?? "";
  const names = (list: string) => (list === "" ? [] : list.split(";"));
  const headers = names(headerList).map((name): Pair => [name, signedValue(name)]);
  const all = parametersOf(query);
  const parameters = names(parameterList).map((name): Pair => all.find(([other]) => other === name) ?? [name, ""]);
  const authorization = authorizationOf({ method, path, headers, parameters }, key, python);
  // As SDK-py writes it; it is no date of HTTP.
  const date = new Date(Number(key.signTime.split(";")[0]) * 1000).toISOString().replace(/\.\d+/, "");
  const body = Buffer.from(recorded.body);
  return requestBytes(method, target, [...lines, ["Date", date], ["Authorization", authorization]], body);
}

function requestBytes(method: string, target: string, lines: readonly Pair[], body: Uint8Array): Buffer {
  const head = [`${method} ${target} HTTP/1.1`, ...lines.map((line) => line.join(": ")), "", ""].join("\r\n");
  return Buffer.concat([Buffer.from(head, "latin1"), body]);
}

function queryOf(params: SignedCase["params"], blank: string): string {
  const pairs = Object.entries(params).map(
    ([name, value]) => `${name}=${encodeURIComponent(String(value)).replaceAll("%20", blank)}`,
  );
  return pairs.length === 0 ? "" : `?${pairs.join("&")}`;
}

/** Text as its UTF-8, one character per byte. */
function bytesOf(text: string): string {
  return Buffer.from(text, "utf8").toString("latin1");
}
