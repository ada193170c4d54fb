import { describe, expect, test } from "vitest";
import type { Instant } from "../../src/domain/time.js";
import { WireError } from "../../src/protocol/error-wire.js";
import { parsePolicy } from "../../src/protocol/policy.js";
import type { Operation } from "../../src/protocol/routes.js";
import { type AccessRequest, actionNames, type Decision, decide } from "../../src/server/access/access-policy.js";
import { fc } from "../support/seeded-fast-check.js";

const stranger = { appId: "1250000002", uin: "100000000002" };
const request: AccessRequest = {
  caller: stranger,
  operation: "describeVault",
  vault: { region: "ap-chengdu", appId: "1250000001", name: "photos" },
  resource: "vaults/photos",
  address: "192.0.2.7",
  now: Date.parse("2024-05-06T07:08:09.500Z") as Instant,
  archiveAgeDays: null,
};

const allow = {
  effect: "allow",
  principal: { qcs: ["qcs::cam::uin/100000000002:uin/100000000002"] },
  action: ["name/cas:DescribeVault"],
  resource: ["qcs::cas:ap-chengdu:uid/1250000001:vaults/photos"],
};
const deny = { ...allow, effect: "deny" };

function decided(statements: readonly object[] | object, changes: Partial<AccessRequest> = {}): Decision {
  const document = Array.isArray(statements) ? { version: "2.0", statement: statements } : statements;
  return decide(parsePolicy(JSON.stringify(document)), { ...request, ...changes });
}

describe("cas-api 7 Evaluation", () => {
  test.each<{ what: string; statements: readonly object[] | object; decision: Decision }>([
    { what: "no statement", statements: [], decision: "unsaid" },
    { what: "no statement list", statements: { version: "2.0" }, decision: "unsaid" },
    { what: "an allow", statements: [allow], decision: "allow" },
    { what: "one statement that is no list", statements: { statement: allow }, decision: "allow" },
    { what: "a deny", statements: [deny], decision: "deny" },
    { what: "a deny after an allow", statements: [allow, deny], decision: "deny" },
    { what: "a deny before an allow", statements: [deny, allow], decision: "deny" },
    { what: "an allow among others", statements: [{ ...allow, action: "name/cas:X" }, allow], decision: "allow" },
    {
      what: "names and effects in other case",
      statements: {
        Version: "2.0",
        Statement: [
          { Effect: "Allow", Principal: allow.principal, Action: "cas:describevault", Resource: allow.resource },
        ],
      },
      decision: "allow",
    },
    {
      what: "the early edition, principal beside statement",
      statements: {
        principal: allow.principal,
        statement: [{ effect: "allow", action: allow.action, resource: allow.resource }],
      },
      decision: "allow",
    },
  ])("$what: $decision", ({ statements, decision }) => {
    expect(decided(statements)).toBe(decision);
  });
});

describe("cas-api 7 Principals", () => {
  const sub = { ...stranger, subUin: "100000000099" };
  test.each<{ principal: unknown; owner: Decision; user?: Decision }>([
    { principal: "*", owner: "allow" },
    { principal: { qcs: "*" }, owner: "allow" },
    { principal: { qcs: ["qcs::cam::anonymous:anonymous"] }, owner: "allow" },
    { principal: { qcs: "qcs::cam::uin/*:uin/*" }, owner: "allow" },
    { principal: { qcs: "qcs::cam::uin/100000000002:uin/*" }, owner: "allow" },
    { principal: { qcs: "qcs::cam::uin/100000000002" }, owner: "allow" },
    { principal: { qcs: "qcs::cam::uin/100000000002:root" }, owner: "allow" },
    { principal: { qcs: "qcs::cam::uin/1250000002:uin/*" }, owner: "allow" },
    { principal: "1250000002", owner: "allow" },
    { principal: { qcs: [1250000002] }, owner: "allow" },
    { principal: { QCS: ["qcs::cam::uin/5:uin/5", "qcs::cam::uin/100000000002:uin/*"] }, owner: "allow" },
    { principal: { qcs: "qcs::cam::uin/100000000002:uin/100000000002" }, owner: "allow", user: "unsaid" },
    { principal: { qcs: "qcs::cam::uin/1250000002:uin/1250000002" }, owner: "allow", user: "unsaid" },
    { principal: { qcs: "qcs::cam::uin/100000000002:uin/100000000099" }, owner: "unsaid", user: "allow" },
    { principal: { qcs: "qcs::cam::uin/100000000002:roleName/x" }, owner: "unsaid" },
    { principal: { qcs: "qcs::cam::uin/1250000003:uin/*" }, owner: "unsaid" },
    { principal: { qcs: "qcs::cam::uin/12500000020:uin/*" }, owner: "unsaid" },
    { principal: { qcs: "qcs::cam::uin/<RootAccount>:uin/<SubAccount>" }, owner: "unsaid" },
    { principal: { qcs: [] }, owner: "unsaid" },
    { principal: undefined, owner: "unsaid" },
    { principal: null, owner: "unsaid" },
  ])("$principal: the account's owner $owner", ({ principal, owner, user = owner }) => {
    expect(decided([{ ...allow, principal }])).toBe(owner);
    expect(decided([{ ...allow, principal }], { caller: sub })).toBe(user);
  });

  test("a deny that names nobody is about everybody", () => {
    expect(decided([{ ...deny, principal: undefined }])).toBe("deny");
  });
});

describe("cas-api 7 Actions and resources", () => {
  test.each<{ action: unknown; decision: Decision }>([
    { action: "*", decision: "allow" },
    { action: "name/cas:*", decision: "allow" },
    { action: "cas:*", decision: "allow" },
    { action: "name/*", decision: "allow" },
    { action: "name/cas:Describe*", decision: "allow" },
    { action: "name/cas:DESCRIBEVAULT", decision: "allow" },
    { action: ["name/cas:ListJobs", "name/cas:DescribeVault"], decision: "allow" },
    { action: "name/cas:DescribeJob", decision: "unsaid" },
    { action: "name/cas:DescribeVaul", decision: "unsaid" },
    { action: "name/cos:*", decision: "unsaid" },
    { action: "name/cas:Describe.*", decision: "unsaid" },
  ])("action $action: $decision", ({ action, decision }) => {
    expect(decided([{ ...allow, action }])).toBe(decision);
  });

  test.each<{ resource: unknown; decision: Decision }>([
    { resource: "*", decision: "allow" },
    { resource: undefined, decision: "allow" },
    { resource: "photos", decision: "allow" },
    { resource: "pho*", decision: "allow" },
    { resource: "qcs:id/0:cas:ap-chengdu:uid/1250000001:vaults/photos", decision: "allow" },
    { resource: "qcs::cas:ap-chengdu:uid/1250000001:vault/photos", decision: "allow" },
    { resource: "qcs::cas::uid/1250000001:vaults/photos", decision: "allow" },
    { resource: "qcs::cas::uid/:vaults/photos", decision: "allow" },
    { resource: "qcs::cas:::vaults/photos", decision: "allow" },
    { resource: "qcs::cas:*:uid/*:vaults/*", decision: "allow" },
    { resource: "qcs::cas:ap-*:uid/1250000001:*", decision: "allow" },
    { resource: ["other", "photos"], decision: "allow" },
    { resource: "qcs::cas:ap-beijing:uid/1250000001:vaults/photos", decision: "unsaid" },
    { resource: "qcs::cas:ap-chengdu:uid/1250000002:vaults/photos", decision: "unsaid" },
    { resource: "qcs::cos:ap-chengdu:uid/1250000001:vaults/photos", decision: "unsaid" },
    { resource: "qcs::cas:ap-chengdu:uid/1250000001:vaults/photo", decision: "unsaid" },
    { resource: "qcs::cas:ap-chengdu:uid/1250000001:vaults/photos/archives/*", decision: "unsaid" },
    { resource: "vaults/photos", decision: "unsaid" },
    { resource: "Photos", decision: "unsaid" },
  ])("resource $resource: $decision", ({ resource, decision }) => {
    expect(decided([{ ...allow, resource }])).toBe(decision);
  });

  test("the vault's name covers what is in it, a longer name only that", () => {
    const inside = { operation: "deleteArchive", resource: "vaults/photos/archives/a1" } as const;
    const statement = { ...allow, action: "name/cas:DeleteArchive" };
    const name = "qcs::cas:ap-chengdu:uid/1250000001:vaults/photos";
    expect(decided([statement], inside)).toBe("allow");
    expect(decided([{ ...statement, resource: `${name}/archives/a1` }], inside)).toBe("allow");
    expect(decided([{ ...statement, resource: `${name}/archives/*` }], inside)).toBe("allow");
    expect(decided([{ ...statement, resource: `${name}/archives/a2` }], inside)).toBe("unsaid");
  });

  test("every operation has the name of its API page, each a different one", () => {
    const operations = Object.keys(actionNames) as Operation[];
    expect(new Set(Object.values(actionNames)).size).toBe(operations.length);
    for (const operation of operations) {
      const action = `name/cas:${actionNames[operation]}`;
      expect(decided([{ ...allow, action }], { operation })).toBe("allow");
      for (const other of operations) {
        if (other !== operation) expect(decided([{ ...allow, action }], { operation: other })).toBe("unsaid");
      }
    }
  });
});

describe("cas-api 7, 8.3 Conditions", () => {
  const ip = (operator: string, value: unknown) => ({ [operator]: { "qcs:ip": value } });
  const time = (operator: string, value: unknown) => ({ [operator]: { "qcs:current_time": value } });
  const age = (operator: string, value: unknown) => ({ [operator]: { "cas:ArchiveAgeInDays": value } });

  test.each<{ condition: object; holds: boolean; changes?: Partial<AccessRequest> }>([
    { condition: {}, holds: true },
    { condition: ip("ip_equal", "192.0.2.7"), holds: true },
    { condition: ip("ip_equal", "192.0.2.8"), holds: false },
    { condition: ip("ip_equal", "192.0.2.99/24"), holds: true },
    { condition: ip("ip_equal", "192.0.3.0/24"), holds: false },
    { condition: ip("ip_equal", "0.0.0.0/0"), holds: true },
    { condition: ip("ip_equal", ["10.0.0.0/8", "192.0.2.0/28"]), holds: true },
    { condition: ip("ip_equal", "2001:db8::/32"), holds: false },
    { condition: ip("ip_equal", "2001:db8::/32"), holds: true, changes: { address: "2001:db8:1::5" } },
    { condition: ip("ip_equal", "192.0.2.0/24"), holds: false, changes: { address: "2001:db8:1::5" } },
    { condition: ip("ip_not_equal", "192.0.2.8"), holds: true },
    { condition: ip("ip_not_equal", ["10.0.0.0/8", "192.0.2.0/24"]), holds: false },
    { condition: ip("ip_not_equal", ["10.0.0.0/8", "172.16.0.0/12"]), holds: true },
    { condition: time("date_equal", "2024-05-06T07:08:09Z"), holds: true },
    { condition: time("date_not_equal", "2024-05-06T07:08:09Z"), holds: false },
    { condition: time("date_less_than", "2024-05-06T07:08:10Z"), holds: true },
    { condition: time("date_less_than", "2024-05-06T07:08:09Z"), holds: false },
    { condition: time("date_less_than_equal", "2024-05-06T07:08:09Z"), holds: true },
    { condition: time("date_greater_than", "2024-05-06T07:08:09Z"), holds: false },
    { condition: time("date_greater_than_equal", "2024-05-06T07:08:09Z"), holds: true },
    { condition: time("date_greater_than", ["2030-01-01T00:00:00Z", "2020-01-01T00:00:00Z"]), holds: true },
    { condition: time("DateLessThanEquals", "2024-05-06T15:08:09+08:00"), holds: true },
    { condition: age("NumericLessThan", "365"), holds: false },
    { condition: age("NumericLessThan", "365"), holds: true, changes: { archiveAgeDays: 364 } },
    { condition: age("NumericLessThan", 365), holds: false, changes: { archiveAgeDays: 365 } },
    { condition: age("numeric_less_than_equal", "365"), holds: true, changes: { archiveAgeDays: 365 } },
    { condition: age("NumericLessThanEquals", "365"), holds: false, changes: { archiveAgeDays: 366 } },
    { condition: age("NumericGreaterThan", ["365"]), holds: true, changes: { archiveAgeDays: 366 } },
    { condition: age("NumericGreaterThanEquals", "365"), holds: true, changes: { archiveAgeDays: 365 } },
    { condition: age("NumericEquals", ["1", "2"]), holds: true, changes: { archiveAgeDays: 2 } },
    { condition: age("NumericNotEquals", ["1", "2"]), holds: false, changes: { archiveAgeDays: 2 } },
    { condition: { StringLike: { "cas:ResourceTag/LegalHold": ["true", ""] } }, holds: false },
    { condition: { ...ip("ip_equal", "192.0.2.7"), ...time("date_less_than", "2030-01-01T00:00:00Z") }, holds: true },
    { condition: { ...ip("ip_equal", "192.0.2.7"), ...time("date_less_than", "2020-01-01T00:00:00Z") }, holds: false },
  ])("$condition: $holds", ({ condition, holds, changes }) => {
    expect(decided([{ ...allow, condition }], changes)).toBe(holds ? "allow" : "unsaid");
    expect(decided([{ ...deny, condition }], changes)).toBe(holds ? "deny" : "unsaid");
  });

  test.each<{ condition: object }>([
    { condition: { ip_like: { "qcs:ip": "192.0.2.7" } } },
    { condition: { ip_equal: { "qcs:address": "192.0.2.7" } } },
    { condition: { date_equal: { "qcs:ip": "192.0.2.7" } } },
    { condition: { constructor: { "qcs:ip": "192.0.2.7" } } },
    { condition: { date_constructor: { "qcs:current_time": "2020-01-01T00:00:00Z" } } },
    { condition: { StringNotLike: { "cas:ResourceTag/x": "y" } } },
  ])("$condition is not known: it never lets an allow through, and never holds up a deny", ({ condition }) => {
    expect(decided([{ ...allow, condition }])).toBe("unsaid");
    expect(decided([{ ...deny, condition }])).toBe("deny");
    const known = { ip_equal: { "qcs:ip": "203.0.113.1" } };
    // Whatever the unknown one means, the other one does not hold.
    expect(decided([{ ...deny, condition: { ...known, ...condition } }])).toBe(
      Object.hasOwn(condition, "ip_equal") ? "deny" : "unsaid",
    );
  });

  test("without an address no condition on it lets anything through", () => {
    const gone = { address: "" };
    for (const operator of ["ip_equal", "ip_not_equal"]) {
      expect(decided([{ ...allow, condition: ip(operator, "192.0.2.7") }], gone)).toBe("unsaid");
      expect(decided([{ ...deny, condition: ip(operator, "192.0.2.7") }], gone)).toBe("deny");
    }
  });
});

describe("cas-api 7 Documents that are refused", () => {
  const statement = (changes: object) => JSON.stringify({ statement: [{ ...allow, ...changes }] });
  test.each([
    { text: "no json" },
    { text: "[]" },
    { text: "null" },
    { text: '{"statement":"all"}' },
    { text: '{"statement":[null]}' },
    { text: '{"statement":[[]]}' },
    { text: '{"statement":[{}]}' },
    { text: '{"statement":[],"Statement":[]}' },
    { text: '{"statement":[],"condition":{}}' },
    { text: statement({ effect: "permit" }) },
    { text: statement({ effect: true }) },
    { text: statement({ effect: undefined }) },
    { text: statement({ action: undefined }) },
    { text: statement({ action: [] }) },
    { text: statement({ action: [7] }) },
    { text: statement({ action: "" }) },
    { text: statement({ resource: [] }) },
    { text: statement({ resource: { vault: "photos" } }) },
    { text: statement({ notResource: "photos" }) },
    { text: statement({ conditions: {} }) },
    { text: statement({ principal: { aws: "*" } }) },
    { text: statement({ principal: "arn:aws:iam::1:root" }) },
    { text: statement({ principal: { qcs: [true] } }) },
    { text: statement({ principal: { qcs: "somebody" } }) },
    { text: statement({ condition: [] }) },
    { text: statement({ condition: { ip_equal: "192.0.2.7" } }) },
    { text: statement({ condition: { ip_equal: { "qcs:ip": [] } } }) },
    { text: statement({ condition: { ip_equal: { "qcs:ip": "192.0.2.7/33" } } }) },
    { text: statement({ condition: { ip_equal: { "qcs:ip": "fe80::1%eth0" } } }) },
    { text: statement({ condition: { ip_equal: { "qcs:ip": "*" } } }) },
    { text: statement({ condition: { date_less_than: { "qcs:current_time": "tomorrow" } } }) },
    { text: statement({ condition: { date_less_than: { "qcs:current_time": "2024-02-30T00:00:00Z" } } }) },
    { text: statement({ condition: { NumericLessThan: { "cas:ArchiveAgeInDays": "a year" } } }) },
  ])("$text", ({ text }) => {
    expect(() => parsePolicy(text)).toThrow(WireError);
    expect(() => parsePolicy(text)).toThrow(expect.objectContaining({ code: "InvalidParameterValueException" }));
  });
});

describe("any document", () => {
  const words = fc.constantFrom(
    "allow",
    "deny",
    "Allow",
    "*",
    "name/cas:*",
    "name/cas:DescribeVault",
    "qcs::cam::uin/100000000002:uin/*",
    "qcs::cas:*:uid/*:vaults/*",
    "qcs::cas:ap-chengdu:uid/1250000001:vaults/photos",
    "192.0.2.0/24",
    "2001:db8::/32",
    "2016-01-01T12:00:11Z",
    "365",
    "__proto__",
  );
  const names = fc.constantFrom(
    "version",
    "statement",
    "effect",
    "principal",
    "action",
    "resource",
    "condition",
    "qcs",
    "ip_equal",
    "ip_not_equal",
    "date_less_than",
    "numeric_less_than",
    "qcs:ip",
    "qcs:current_time",
    "cas:ArchiveAgeInDays",
    "Effect",
    "__proto__",
  );
  const { value: anything } = fc.letrec((tie) => ({
    value: fc.oneof(
      { depthSize: "medium" },
      words,
      fc.string(),
      fc.double(),
      fc.constantFrom(null, true),
      fc.array(tie("value"), { maxLength: 4 }),
      fc.dictionary(fc.oneof(names, fc.string()), tie("value"), { maxKeys: 6 }),
    ),
  }));
  const texts = fc.oneof(words, fc.array(words, { minLength: 1, maxLength: 3 }));
  const principals = fc.constantFrom("*", "1250000002", { qcs: "qcs::cam::uin/100000000002:uin/*" }, { qcs: "7" });
  const conditions = fc.constantFrom(
    {},
    { ip_equal: { "qcs:ip": "192.0.2.0/24" } },
    { ip_not_equal: { "qcs:ip": ["192.0.2.0/24", "2001:db8::/32"] } },
    { date_less_than: { "qcs:current_time": "2030-01-01T00:00:00Z" }, ip_like: { "qcs:ip": "*" } },
    { NumericLessThan: { "cas:ArchiveAgeInDays": "365" } },
  );
  const statements = fc.record(
    {
      effect: fc.oneof(
        { weight: 6, arbitrary: fc.constantFrom("allow", "deny", "Deny") },
        { weight: 1, arbitrary: words },
      ),
      principal: fc.oneof(principals, principals, principals, texts, anything),
      action: fc.oneof(fc.constantFrom("*", "name/cas:Describe*"), texts),
      resource: fc.oneof(fc.constantFrom("*", "photos"), texts),
      condition: fc.oneof(conditions, conditions, fc.dictionary(names, anything, { maxKeys: 2 })),
    },
    { requiredKeys: ["effect", "action"] },
  );
  const documents = fc.oneof(
    anything,
    fc.record({ statement: fc.array(statements, { maxLength: 4 }) }),
    fc.record({ principal: texts, statement: fc.array(statements, { maxLength: 4 }) }),
  );
  const addresses = fc.oneof(fc.ipV4(), fc.ipV6(), fc.constantFrom("", "nonsense", "192.0.2.7"));
  const ages = fc.option(fc.integer({ min: -5, max: 1000 }), { nil: null });

  test("is refused or judged, and allows nothing without an allow statement", () => {
    const seen = { allow: 0, deny: 0, unsaid: 0, refused: 0 };
    fc.assert(
      fc.property(documents, addresses, ages, (document, address, archiveAgeDays) => {
        const text = JSON.stringify(document) ?? "";
        try {
          const decision = decide(parsePolicy(text), { ...request, address, archiveAgeDays });
          seen[decision]++;
          if (decision !== "unsaid") expect(text.toLowerCase()).toContain(`"${decision}"`);
        } catch (error) {
          seen.refused++;
          expect(error).toBeInstanceOf(WireError);
          expect((error as WireError).code).toBe("InvalidParameterValueException");
        }
      }),
      { numRuns: 3000 },
    );
    // The documents are not all of one kind, or the test would say nothing.
    for (const count of Object.values(seen)) expect(count).toBeGreaterThan(5);
  });

  test("without the allow statements never allows what it denied or left unsaid before", () => {
    fc.assert(
      fc.property(fc.array(statements, { maxLength: 5 }), (list) => {
        const others = list.filter(({ effect }) => effect.toLowerCase() !== "allow");
        let decision: Decision;
        try {
          decision = decided(others);
        } catch (error) {
          if (error instanceof WireError) return;
          throw error;
        }
        expect(decision).not.toBe("allow");
      }),
    );
  });
});
