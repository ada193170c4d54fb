import { describe, expect, test } from "vitest";
import type { Instant } from "../../src/domain/time.js";
import {
  authorization,
  canonicalFormatString,
  type NameValue,
  parseAuthorization,
  type ReceivedRequest,
  type SigningKey,
  signingKey,
  type VerificationOptions,
  verifySignature,
} from "../../src/protocol/signature.js";
import { fc } from "../support/seeded-fast-check.js";
import { type SignatureVector, vectors } from "../support/vectors.js";

const { python_sdk: python, node_sdk: node, go_sdk: go } = vectors.signatures;
const all = [...python.cases, ...node.cases, ...go.cases];
const named = (cases: readonly SignatureVector[]) => cases.map((vector) => [vector.id, vector] as const);

const bytesText = (value: string | number) => Buffer.from(String(value), "utf8").toString("latin1");
const headersOf = (vector: SignatureVector) =>
  Object.entries(vector.headers).map(([name, value]): NameValue => [name, bytesText(value)]);
const parametersOf = (vector: SignatureVector) =>
  Object.entries(vector.params).map(([name, value]): NameValue => [name, String(value)]);
const windowOf = (text: string) => {
  const [startSeconds, endSeconds] = text.split(";").map(Number);
  return { startSeconds: startSeconds!, endSeconds: endSeconds! };
};

function received(vector: SignatureVector): ReceivedRequest {
  return {
    method: vector.method,
    path: vector.path,
    headers: [...headersOf(vector), ["Authorization", bytesText(vector.authorization)]],
    parameters: parametersOf(vector),
  };
}

function optionsFor(vector: SignatureVector, more: Partial<VerificationOptions> = {}): VerificationOptions {
  // Of the delegated cases only the SignKey is published; its owner's secret is one that gives it, which nobody knows.
  const secretKey = vector.secret_key ?? delegator.secret_key!;
  return { secretKeyOf: () => secretKey, now: (vector.now * 1000) as Instant, ...more };
}

const delegator = go.cases.find(({ secret_key }) => secret_key !== undefined)!;

describe("signing", () => {
  const delegated = go.cases.filter(({ sign_key_given }) => sign_key_given !== undefined);

  test.each(named(python.cases))("%s is signed as the official client signs it", (_, vector) => {
    const request = { ...vector, headers: headersOf(vector), parameters: parametersOf(vector) };
    const formatted = Buffer.from(canonicalFormatString(request), "latin1").toString("utf8");
    expect(formatted).toBe(vector.format_string);
    expect(signingKey(vector.secret_key!, vector.key_time)).toBe(vector.sign_key);
    const text = authorization({
      ...request,
      secretId: vector.secret_id,
      key: { secretKey: vector.secret_key! },
      signTime: windowOf(vector.sign_time),
    });
    expect(text).toBe(vector.authorization);
  });

  test.each(named(delegated))("%s: a delegated key signs within its window", (id, vector) => {
    const expirySeconds = id.includes("clipped") ? 86_400 : 1200;
    const key: SigningKey = { signKey: vector.sign_key_given!, keyTime: windowOf(vector.key_time) };
    const signTime = { startSeconds: vector.now - expirySeconds / 2, endSeconds: vector.now + expirySeconds / 2 };
    const request = { method: vector.method, path: vector.path, headers: headersOf(vector), parameters: [] };
    expect(authorization({ ...request, secretId: vector.secret_id, key, signTime })).toBe(vector.authorization);
  });
});

describe("verifying", () => {
  test("there are 38 published signatures", () => expect(all).toHaveLength(38));

  test.each(named(all))("%s is accepted", (_, vector) => {
    expect(verifySignature(received(vector), optionsFor(vector))).toEqual({ ok: true, secretId: vector.secret_id });
  });

  test.each(named(python.cases))("%s is accepted in strict mode", (_, vector) => {
    expect(verifySignature(received(vector), optionsFor(vector, { strict: true })).ok).toBe(true);
  });

  test("strict mode refuses what only a variant of another client explains", () => {
    for (const id of ["go02-marker-keeps-case", "go03-path-is-lowercased", "node07-helper-unsorted"]) {
      const vector = all.find((candidate) => candidate.id === id)!;
      expect(verifySignature(received(vector), optionsFor(vector, { strict: true })).ok).toBe(false);
    }
  });

  const vector = python.cases.find(({ id }) => id.startsWith("py06"))!;
  const code = (request: ReceivedRequest, more: Partial<VerificationOptions> = {}) => {
    const result = verifySignature(request, optionsFor(vector, more));
    return result.ok ? "ok" : result.code;
  };
  const withAuthorization = (text: string): ReceivedRequest => ({
    ...received(vector),
    headers: [...headersOf(vector), ["authorization", text]],
  });

  test("every byte that was signed counts", () => {
    const request = received(vector);
    expect(code({ ...request, method: "PUT" })).toBe("InvalidSignatureException");
    expect(code({ ...request, path: `${request.path}x` })).toBe("InvalidSignatureException");
    for (const [index] of headersOf(vector).entries()) {
      const headers = request.headers.map((line, at): NameValue => (at === index ? [line[0], `${line[1]}0`] : line));
      expect(code({ ...request, headers })).toBe("InvalidSignatureException");
    }
    expect(code(request, { secretKeyOf: () => "another secret" })).toBe("InvalidSignatureException");
  });

  test("a missing, malformed, foreign or unknown authorization has the code the protocol gives it", () => {
    expect(code({ ...received(vector), headers: headersOf(vector) })).toBe("MissingAuthenticationTokenException");
    expect(code(withAuthorization("nonsense"))).toBe("InvalidSignatureException");
    expect(code(withAuthorization(vector.authorization.replace("=sha1", "=sha256")))).toBe("InvalidSignatureException");
    expect(code(withAuthorization(vector.authorization.replace(/&q-key-time=[^&]*/, "")))).toBe(
      "InvalidSignatureException",
    );
    expect(code(received(vector), { secretKeyOf: () => undefined })).toBe("UnrecognizedClientException");
  });

  test("a signed header that is absent or given twice is refused", () => {
    const request = received(vector);
    expect(code({ ...request, headers: request.headers.filter(([name]) => !/tree-hash/i.test(name)) })).toBe(
      "InvalidSignatureException",
    );
    const twice: NameValue = ["X-Cas-Sha256-Tree-Hash", "0".repeat(64)];
    expect(code({ ...request, headers: [...request.headers, twice] })).toBe("InvalidSignatureException");
  });

  test("the signed one of two Host lines may be the second", () => {
    const request = received(vector);
    expect(code({ ...request, headers: [["Host", "localhost:8080"], ...request.headers] })).toBe("ok");
    expect(code({ ...request, headers: [["Host", "localhost:8080"], ...request.headers] }, { strict: true })).toBe(
      "ok",
    );
  });

  test("a signature is valid within its window and the tolerated difference of the clocks, ends included", () => {
    const { startSeconds, endSeconds } = windowOf(vector.sign_time);
    const at = (seconds: number, skewSeconds: number) =>
      code(received(vector), { now: (seconds * 1000) as Instant, skewSeconds });
    expect([at(startSeconds, 0), at(endSeconds, 0)]).toEqual(["ok", "ok"]);
    expect([at(startSeconds - 1, 0), at(endSeconds + 1, 0)]).toEqual(Array(2).fill("ExpiredTokenException"));
    expect([at(startSeconds - 300, 300), at(endSeconds + 300, 300)]).toEqual(["ok", "ok"]);
    expect([at(startSeconds - 301, 300), at(endSeconds + 301, 300)]).toEqual(Array(2).fill("ExpiredTokenException"));
  });

  test("a window that ends before it starts is no window", () => {
    expect(parseAuthorization(vector.authorization.replaceAll(vector.sign_time, "20;10"))).toBeUndefined();
  });

  test("no authorization text makes the verifier throw or accept", () => {
    fc.assert(
      fc.property(fc.string(), fc.webQueryParameters(), (text, query) => {
        for (const value of [text, query, `${vector.authorization}${text}0`]) {
          expect(code(withAuthorization(value))).not.toBe("ok");
        }
      }),
    );
  });
});

test("whatever we sign, in either mode, a strict verifier accepts", () => {
  const name = fc.stringMatching(/^[a-z][a-z0-9-]{0,15}$/);
  const headerValue = fc.stringMatching(/^[!-~][ -~]{0,30}$/).map((text) => text.trim());
  const pairs = (value: fc.Arbitrary<string>) => fc.uniqueArray(fc.tuple(name, value), { selector: ([key]) => key });
  fc.assert(
    fc.property(
      pairs(headerValue),
      pairs(fc.string({ unit: "grapheme" })),
      fc.boolean(),
      (headers, parameters, delegated) => {
        const signTime = { startSeconds: 1_700_000_000, endSeconds: 1_700_001_200 };
        const keyTime = { startSeconds: 1_699_999_000, endSeconds: 1_700_000_600 };
        const key = delegated
          ? { signKey: signingKey("secret", "1699999000;1700000600"), keyTime }
          : { secretKey: "secret" };
        const signable = headers.filter(([key]) => key !== "authorization" && key !== "host");
        const request = { method: "POST", path: "/-/vaults/v/archives", headers: signable, parameters };
        const text = authorization({ ...request, secretId: "id", key, signTime });
        const result = verifySignature(
          { ...request, headers: [...signable, ["authorization", text]] },
          { secretKeyOf: () => "secret", now: 1_700_000_500_000 as Instant, strict: true, skewSeconds: 0 },
        );
        expect(result).toEqual({ ok: true, secretId: "id" });
      },
    ),
  );
});
