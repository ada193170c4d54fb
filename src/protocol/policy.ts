/**
 * Policy documents, of vault access (cas-api section 7) and of vault locks (8.3): text -> statements. Pure.
 *
 * The published documents differ in spelling: names of members may be in any case, a list of one may be its element,
 * and `principal` may stand beside `statement` for all of them. What could widen a policy when it is overlooked (a member
 * that is not known, say `notAction`) is refused. Conditions that are not known are kept as such: they never let an
 * `allow` take effect, and never keep a `deny` from it.
 */

import { isIP } from "node:net";
import type { Instant } from "../domain/time.js";
import { jsonOrUndefined } from "../lib/json-text.js";
import { invalidParameter, refusing } from "./error-wire.js";
import { parseTime } from "./wire-time.js";

export interface Policy {
  readonly statements: readonly PolicyStatement[];
}

export interface PolicyStatement {
  readonly effect: "allow" | "deny";
  /** Null when nobody is named: an `allow` is then for nobody, a `deny` for everybody. */
  readonly principals: readonly Principal[] | null;
  /** Names of operations such as `DeleteArchive`, with `*` and `?`; without the prefixes `name/` and `cas:`. */
  readonly actions: readonly string[];
  /** Resource names in any form of section 1, with `*` and `?`; `*` when the statement has none. */
  readonly resources: readonly string[];
  /** All of them must hold. */
  readonly conditions: readonly Condition[];
}

/** Whom a statement is about; `*` is anybody. */
export interface Principal {
  /** Number of an account; what a document template has in its place is nobody's. */
  readonly account: string;
  /** A user of it by number: the account's own number is its owner, `*` all of its users. */
  readonly user: string;
}

export type Comparison = "equal" | "not-equal" | "less" | "less-or-equal" | "greater" | "greater-or-equal";

/** Holds when one of its values compares so; with `not-equal`, when none is equal. */
export type Condition =
  | {
      readonly kind: "address";
      readonly comparison: "equal" | "not-equal";
      readonly networks: readonly [Network, ...Network[]];
    }
  | { readonly kind: "time"; readonly comparison: Comparison; readonly values: readonly Instant[] }
  | { readonly kind: "archive-age-days"; readonly comparison: Comparison; readonly values: readonly number[] }
  /** The tags of this service's vaults: there are none, so no condition on one ever holds. */
  | { readonly kind: "tag" }
  | { readonly kind: "unknown"; readonly name: string };

export interface Network {
  readonly address: string;
  readonly prefixLength: number;
  readonly family: "ipv4" | "ipv6";
}

/**
 * Reads a policy document.
 *
 * A document without `statement` is a policy that says nothing: the official clients send such ones.
 *
 * @throws WireError InvalidParameterValueException that says what is wrong.
 */
export function parsePolicy(text: string): Policy {
  const document = members(jsonOrUndefined(text), "The policy", policyMembers);
  const everywhere = document.get("principal");
  const statements = listOf(document.get("statement") ?? []);
  return { statements: statements.map((statement) => parseStatement(statement, everywhere)) };
}

const policyMembers = ["version", "id", "sid", "description", "principal", "statement"];
const statementMembers = ["sid", "id", "effect", "principal", "action", "resource", "condition"];

function parseStatement(value: unknown, principalOfPolicy: unknown): PolicyStatement {
  const statement = members(value, "A statement of the policy", statementMembers);
  const principal = statement.get("principal") ?? principalOfPolicy;
  return {
    effect: parseEffect(statement.get("effect")),
    principals: principal === undefined || principal === null ? null : parsePrincipals(principal),
    actions: textsOf(statement.get("action"), "action").map(operationPattern),
    resources: textsOf(statement.get("resource") ?? "*", "resource"),
    conditions: parseConditions(statement.get("condition") ?? {}),
  };
}

function parseEffect(value: unknown): "allow" | "deny" {
  const effect = typeof value === "string" ? value.toLowerCase() : undefined;
  if (effect === "allow" || effect === "deny") return effect;
  throw invalidParameter("The effect of a statement is neither allow nor deny");
}

function operationPattern(action: string): string {
  return action
    .trim()
    .replace(/^name\//i, "")
    .replace(/^cas:/i, "");
}

// --- principals ---------------------------------------------------------------------------------------------------

function parsePrincipals(value: unknown): Principal[] {
  return listOf(value).flatMap((entry) => {
    if (typeof entry !== "object" || entry === null) return [parsePrincipal(entry)];
    const names = members(entry, "A principal", ["qcs"]).get("qcs");
    return listOf(names ?? []).map(parsePrincipal);
  });
}

const everybody: Principal = { account: "*", user: "*" };

function parsePrincipal(value: unknown): Principal {
  const text = typeof value === "number" ? String(value) : value;
  if (typeof text !== "string") throw invalidParameter("A principal of the policy is not a text");
  if (text === "*" || /^qcs::cam:[^:]*:anonymous(:anonymous|:\*)?$/i.test(text)) return everybody;
  const match = /^(?:qcs::cam:[^:]*:)?(?:uin\/)?(\d+|\*|<[^>]*>)(?::(?:uin\/)?([^:]+))?$/i.exec(text);
  if (!match) throw invalidParameter(`The policy names a principal that is not in the form qcs::cam::uin/N:uin/N`);
  const [, account, user = "*"] = match;
  return { account: account!, user: user === "root" ? "*" : user };
}

// --- conditions ---------------------------------------------------------------------------------------------------

const equalities: Readonly<Record<string, "equal" | "not-equal">> = { ip_equal: "equal", ip_not_equal: "not-equal" };

const comparisons: Readonly<Record<string, Comparison>> = {
  equal: "equal",
  not_equal: "not-equal",
  less_than: "less",
  less_than_equal: "less-or-equal",
  greater_than: "greater",
  greater_than_equal: "greater-or-equal",
};

function parseConditions(value: unknown): Condition[] {
  const operators = membersOf(value, "A condition of the policy");
  return operators.flatMap(([operator, names]) =>
    membersOf(names, `The condition ${printable(operator)}`).map(([name, values]) =>
      parseCondition(snakeCase(operator), name.toLowerCase(), listOf(values)),
    ),
  );
}

function parseCondition(operator: string, name: string, values: readonly unknown[]): Condition {
  if (values.length === 0) throw invalidParameter(`The condition ${printable(operator)} has no value`);
  const [, family = "", comparisonName = ""] = /^(date|numeric)_(.*)$/.exec(operator) ?? [];
  const comparison = Object.hasOwn(comparisons, comparisonName) ? comparisons[comparisonName] : undefined;
  if (name === "qcs:ip" && Object.hasOwn(equalities, operator)) {
    const [first, ...rest] = values.map(parseNetwork);
    return { kind: "address", comparison: equalities[operator]!, networks: [first!, ...rest] };
  }
  if (name === "qcs:current_time" && family === "date" && comparison !== undefined) {
    return { kind: "time", comparison, values: values.map(parseMoment) };
  }
  if (name === "cas:archiveageindays" && family === "numeric" && comparison !== undefined) {
    return { kind: "archive-age-days", comparison, values: values.map(parseNumber) };
  }
  if (name.startsWith("cas:resourcetag/") && (operator === "string_like" || operator === "string_equal")) {
    return { kind: "tag" };
  }
  return { kind: "unknown", name: printable(`${operator} ${name}`) };
}

/** `NumericLessThanEquals` and `numeric_less_than_equal` are the same operator. */
function snakeCase(operator: string): string {
  return operator
    .replace(/(?<=[a-z])(?=[A-Z])/g, "_")
    .toLowerCase()
    .replace(/equals$/, "equal");
}

function parseNetwork(value: unknown): Network {
  const [, address = "", prefix] = /^([^/]+)(?:\/(\d{1,3}))?$/.exec(typeof value === "string" ? value : "") ?? [];
  const version = isIP(address);
  const bits = version === 6 ? 128 : 32;
  const prefixLength = prefix === undefined ? bits : Number(prefix);
  // A zone names an interface of one machine; rules have no use for it.
  if (version === 0 || prefixLength > bits || address.includes("%")) {
    throw invalidParameter("A value of qcs:ip is not an address or network such as 10.121.2.0/24");
  }
  return { address, prefixLength, family: version === 6 ? "ipv6" : "ipv4" };
}

function parseMoment(value: unknown): Instant {
  return refusing(() => parseTime(typeof value === "string" ? value : ""));
}

function parseNumber(value: unknown): number {
  const number = typeof value === "string" && /^-?\d+(\.\d+)?$/.test(value) ? Number(value) : value;
  if (typeof number === "number" && Number.isFinite(number)) return number;
  throw invalidParameter("A value of cas:ArchiveAgeInDays is not a number");
}

// --- JSON ---------------------------------------------------------------------------------------------------------

/** The members of an object by name in lowercase; others than `known` are refused. */
function members(value: unknown, what: string, known: readonly string[]): Map<string, unknown> {
  const found = new Map<string, unknown>();
  for (const [written, member] of membersOf(value, what)) {
    const name = written.toLowerCase();
    if (!known.includes(name)) throw invalidParameter(`${what} has the unknown member ${printable(written)}`);
    if (found.has(name)) throw invalidParameter(`${what} has ${name} twice`);
    found.set(name, member);
  }
  return found;
}

function membersOf(value: unknown, what: string): [string, unknown][] {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return Object.entries(value);
  throw invalidParameter(`${what} is not a JSON object`);
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [value];
}

function textsOf(value: unknown, what: string): readonly string[] {
  const texts = listOf(value);
  const isText = (text: unknown): text is string => typeof text === "string" && text !== "";
  if (texts.length > 0 && texts.every(isText)) return texts;
  throw invalidParameter(`The ${what} of a statement is not a text or a list of texts`);
}

function printable(text: string): string {
  return JSON.stringify(text.slice(0, 60));
}
