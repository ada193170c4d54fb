import { describe, expect, test } from "vitest";
import { isTransient, ServiceError } from "../../src/domain/errors.js";
import { formatError, parseError, type WireErrorCode, wireErrors } from "../../src/protocol/error-wire.js";
import { fc } from "../support/seeded-fast-check.js";

const parse = (status: number, body: unknown) =>
  parseError("Cannot try", { status, body: typeof body === "string" ? body : JSON.stringify(body), requestId: "r1" });

describe("errors on the wire", () => {
  test("every code has its status and its type, and means something to a client", () => {
    const faults = Object.keys(wireErrors).map((code) => {
      const { status, body } = formatError(code as WireErrorCode, "because");
      const error = parse(status, body);
      expect(error.message).toBe(`Cannot try: because (${code})`);
      expect([error.code, error.requestId]).toEqual([code, "r1"]);
      return [code, error.fault, error.effect];
    });
    expect(faults).toMatchInlineSnapshot(`
      [
        [
          "AccessDeniedException",
          "denied",
          "none",
        ],
        [
          "BadRequest",
          "refused",
          "none",
        ],
        [
          "ExpiredTokenException",
          "expired",
          "none",
        ],
        [
          "InvalidParameterValueException",
          "refused",
          "none",
        ],
        [
          "InvalidSignatureException",
          "denied",
          "none",
        ],
        [
          "LimitExceededException",
          "refused",
          "none",
        ],
        [
          "MissingAuthenticationTokenException",
          "denied",
          "none",
        ],
        [
          "MissingParameterValueException",
          "refused",
          "none",
        ],
        [
          "PolicyEnforcedException",
          "throttled",
          "none",
        ],
        [
          "ResourceNotFoundException",
          "missing",
          "none",
        ],
        [
          "RequestTimeoutException",
          "timeout",
          "none",
        ],
        [
          "SerializationException",
          "refused",
          "none",
        ],
        [
          "ThrottlingException",
          "throttled",
          "none",
        ],
        [
          "UnrecognizedClientException",
          "denied",
          "none",
        ],
        [
          "ServiceUnavailableException",
          "unavailable",
          "none",
        ],
        [
          "InsufficientCapacityException",
          "unavailable",
          "none",
        ],
        [
          "InvalidDigest",
          "digest",
          "none",
        ],
      ]
    `);
  });

  test.each([
    [502, "<html>Bad gateway</html>", "unavailable", "unknown"],
    [503, "", "unavailable", "none"],
    [504, "", "timeout", "unknown"],
    [429, "[]", "throttled", "none"],
    [404, "null", "missing", "none"],
    [403, '{"code":5}', "denied", "none"],
    [400, '{"code":"Something New"}', "refused", "none"],
    [301, "", "refused", "none"],
  ])("a %i without the service's own words is judged by its status", (status, body, fault, effect) => {
    expect(parse(status, body)).toMatchObject({ fault, effect });
  });

  test("a hostile message is cut and made printable", () => {
    const { message } = parse(400, { code: "BadRequest", message: `a\u001b[31m\n${"x".repeat(10_000)}` });
    expect(message).toMatch(/^[ -~]{1,600}$/);
  });

  test("whatever the body, there is a ServiceError", () => {
    fc.assert(
      fc.property(fc.integer({ min: 300, max: 599 }), fc.oneof(fc.string(), fc.json()), (status, body) => {
        expect(parse(status, body)).toBeInstanceOf(ServiceError);
      }),
    );
  });

  test("throttling, failures, timeouts and digests may pass; refusals do not", () => {
    expect(
      [
        "ThrottlingException",
        "ServiceUnavailableException",
        "InvalidDigest",
        "BadRequest",
        "ResourceNotFoundException",
      ].map((code) => isTransient(parse(400, { code }))),
    ).toEqual([true, true, true, false, false]);
  });
});
