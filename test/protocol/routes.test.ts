import { describe, expect, test } from "vitest";
import { archiveId, jobId, uploadId, vaultName } from "../../src/domain/ids.js";
import { formatQuery, parseQuery, queryValue, splitTarget } from "../../src/protocol/query.js";
import { accountText, formatRoute, matchRoute, type Operation, type Route } from "../../src/protocol/routes.js";
import { fc } from "../support/seeded-fast-check.js";
import { vectors } from "../support/vectors.js";

const account = accountText("1250000000");
const vault = vaultName("my.vault_1-X");
const routes: readonly Route[] = [
  { operation: "listVaults", account: accountText("-") },
  ...(
    [
      "createVault",
      "describeVault",
      "deleteVault",
      "setAccessPolicy",
      "getAccessPolicy",
      "deleteAccessPolicy",
      "setNotification",
      "getNotification",
      "deleteNotification",
      "initiateVaultLock",
      "getVaultLock",
      "abortVaultLock",
      "uploadArchive",
      "initiateMultipartUpload",
      "listMultipartUploads",
      "initiateJob",
      "listJobs",
    ] as const
  ).map((operation): Route => ({ operation, account, vault })),
  { operation: "completeVaultLock", account, vault, lock: "-L_" },
  { operation: "deleteArchive", account, vault, archive: archiveId("-A_") },
  ...(["uploadPart", "completeMultipartUpload", "listParts", "abortMultipartUpload"] as const).map(
    (operation): Route => ({ operation, account, vault, upload: uploadId("--u") }),
  ),
  ...(["describeJob", "getJobOutput"] as const).map(
    (operation): Route => ({ operation, account, vault, job: jobId("-J") }),
  ),
];

describe("routes", () => {
  test.each(routes.map((route) => [route.operation, route] as const))("%s leads back to itself", (_, route) => {
    const { method, path } = formatRoute(route);
    expect(matchRoute(method, path)).toEqual({ ok: true, route });
    expect(matchRoute(method, `${path}/`)).toEqual({ ok: true, route });
    expect(matchRoute(method, `${path}//`).ok).toBe(false);
  });

  const operationOf: Readonly<Record<string, Operation>> = {
    post_multipart: "uploadPart",
    post_multipart_from_reader: "uploadPart",
    "low-level": "getJobOutput",
    set_vault_access_policy: "setAccessPolicy",
    get_vault_access_policy: "getAccessPolicy",
    delete_vault_access_policy: "deleteAccessPolicy",
    setVaultAccessPolicy: "setAccessPolicy",
    getVaultAccessPolicy: "getAccessPolicy",
    deleteVaultAccessPolicy: "deleteAccessPolicy",
    describeJobs: "describeJob",
  };
  const recorded = Object.values(vectors.client_requests).flatMap(({ cases }) => cases ?? []);

  test.each(recorded.map((request) => [request.call, request] as const))(
    "%s of a real client is understood",
    (call, request) => {
      const name = /^[\w-]+/.exec(call)![0];
      const expected = operationOf[name] ?? name.replace(/_(.)/g, (_, letter: string) => letter.toUpperCase());
      const match = matchRoute(request.method, splitTarget(request.target).path);
      expect(match).toMatchObject({ ok: true, route: { operation: expected } });
    },
  );

  const failure = (method: string, path: string) => {
    const match = matchRoute(method, path);
    return match.ok ? match.route.operation : match.code;
  };

  test("an unknown path is not found, a method that a path does not have is a bad request", () => {
    expect(failure("GET", "/")).toBe("ResourceNotFoundException");
    expect(failure("GET", "/-/vault")).toBe("ResourceNotFoundException");
    expect(failure("GET", "/-/vaults/v/jobs/j/output/x")).toBe("ResourceNotFoundException");
    expect(failure("GET", "-/vaults")).toBe("ResourceNotFoundException");
    expect(failure("GET", "/someone/vaults")).toBe("ResourceNotFoundException");
    expect(failure("HEAD", "/-/vaults")).toBe("BadRequest");
    expect(failure("POST", "/-/vaults/v")).toBe("BadRequest");
    expect(failure("constructor", "/-/vaults/v")).toBe("BadRequest");
  });

  test("a vault name that cannot be one is a bad parameter, an id that cannot be one does not exist", () => {
    for (const name of [".", "..", "%2e%2e", "a%2Fb", "a b", "%C3%A9", "x".repeat(256)]) {
      expect(failure("PUT", `/-/vaults/${name}`)).toBe("InvalidParameterValueException");
    }
    expect(failure("GET", "/-/vaults/v/jobs/a.b")).toBe("ResourceNotFoundException");
    expect(failure("DELETE", "/-/vaults/v/archives/%2e%2e")).toBe("ResourceNotFoundException");
    expect(failure("GET", "/-/vaults/%zz")).toBe("ResourceNotFoundException");
  });

  test("no path makes the matcher throw, and what it matches has checked names", () => {
    const segment = fc.oneof(fc.constantFrom("-", "vaults", "jobs", "archives", "..", "output", "1"), fc.webSegment());
    fc.assert(
      fc.property(
        fc.constantFrom("GET", "PUT", "POST", "DELETE"),
        fc.array(segment, { maxLength: 7 }),
        (method, segments) => {
          const match = matchRoute(method, `/${segments.join("/")}`);
          if (match.ok && "vault" in match.route) expect(match.route.vault).toMatch(/^[A-Za-z0-9_.-]+$/);
        },
      ),
    );
  });
});

describe("queries", () => {
  test("what is formatted reads back, whatever the text", () => {
    const pairs = fc.array(fc.tuple(fc.string({ unit: "grapheme", minLength: 1 }), fc.string({ unit: "grapheme" })));
    fc.assert(
      fc.property(pairs, (parameters) => {
        expect(parseQuery(formatQuery(parameters).slice(1))).toEqual(parameters);
      }),
    );
  });

  test("plus is a space, a broken escape stays, an empty value is absent", () => {
    const parameters = parseQuery("a=x+y%2B&B=%zz&c=&d&&limit=5");
    expect(parameters).toEqual([
      ["a", "x y+"],
      ["B", "%zz"],
      ["c", ""],
      ["d", ""],
      ["limit", "5"],
    ]);
    expect(queryValue(parameters, "b")).toBe("%zz");
    expect(queryValue(parameters, "c")).toBeUndefined();
    expect(queryValue(parameters, "x")).toBeUndefined();
  });

  test("an absolute target is its path", () => {
    expect(splitTarget("http://cas.example:80/-/vaults?limit=1")).toEqual({ path: "/-/vaults", query: "limit=1" });
    expect(splitTarget("/-/vaults?a=b?c")).toEqual({ path: "/-/vaults", query: "a=b?c" });
    expect(splitTarget("http://host")).toEqual({ path: "/", query: "" });
  });
});
