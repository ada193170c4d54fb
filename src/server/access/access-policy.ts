/**
 * What a policy says to one request (cas-api sections 7, 8.3). Pure: the clock and the address are given.
 *
 * `deny` wins over `allow`, whatever their order. A statement is about a request when its principal, action and resource
 * match and all its conditions hold. A condition that is not known, as far as it goes, does not hold for an `allow` and
 * holds for a `deny`; one about something the request does not have (the age of an archive in a request that names
 * none, a tag) holds for neither.
 */

import { BlockList, isIP } from "node:net";
import type { Instant } from "../../domain/time.js";
import { matchesGlob } from "../../lib/glob.js";
import type { Comparison, Condition, Network, Policy, PolicyStatement, Principal } from "../../protocol/policy.js";
import type { Operation } from "../../protocol/routes.js";

export interface AccessRequest {
  readonly caller: PolicyCaller;
  readonly operation: Operation;
  /** The vault that the policy belongs to. */
  readonly vault: { readonly region: string; readonly appId: string; readonly name: string };
  /** What is asked for, as in `vaults/NAME/archives/ID`. */
  readonly resource: string;
  /** IPv4 in dotted form, or IPv6. */
  readonly address: string;
  readonly now: Instant;
  /** Null when the request names no archive that exists. */
  readonly archiveAgeDays: number | null;
}

/** Who signed, in the words of principals. */
export interface PolicyCaller {
  readonly appId: string;
  /** The account's number in the access management, if it has one beside its app id. */
  readonly uin?: string | undefined;
  /** The user of the account that has the key; none when it is the account's owner. */
  readonly subUin?: string | undefined;
}

/** "unsaid" when no statement is about the request. */
export type Decision = "allow" | "deny" | "unsaid";

/** What `policy` says to `request`. */
export function decide(policy: Policy, request: AccessRequest): Decision {
  const applying = policy.statements.filter((statement) => applies(statement, request));
  if (applying.some(({ effect }) => effect === "deny")) return "deny";
  return applying.length > 0 ? "allow" : "unsaid";
}

/** The names that actions of policies have for the operations: those of the API pages. */
export const actionNames: Readonly<Record<Operation, string>> = {
  listVaults: "ListVaults",
  createVault: "CreateVault",
  describeVault: "DescribeVault",
  deleteVault: "DeleteVault",
  setAccessPolicy: "SetVaultAccessPolicy",
  getAccessPolicy: "GetVaultAccessPolicy",
  deleteAccessPolicy: "DeleteVaultAccessPolicy",
  setNotification: "SetVaultNotificationConfiguration",
  getNotification: "GetVaultNotificationConfiguration",
  deleteNotification: "DeleteVaultNotificationConfiguration",
  initiateVaultLock: "InitiateVaultLock",
  getVaultLock: "GetVaultLock",
  abortVaultLock: "AbortVaultLock",
  completeVaultLock: "CompleteVaultLock",
  uploadArchive: "UploadArchive",
  deleteArchive: "DeleteArchive",
  initiateMultipartUpload: "InitiateMultipartUpload",
  listMultipartUploads: "ListMultipartUploads",
  uploadPart: "UploadPart",
  completeMultipartUpload: "CompleteMultipartUpload",
  listParts: "ListParts",
  abortMultipartUpload: "AbortMultipartUpload",
  initiateJob: "InitiateJob",
  listJobs: "ListJobs",
  describeJob: "DescribeJob",
  getJobOutput: "GetJobOutput",
};

function applies(statement: PolicyStatement, request: AccessRequest): boolean {
  return (
    isAbout(statement, request.caller) &&
    statement.actions.some((pattern) => matchesAction(pattern, request.operation)) &&
    statement.resources.some((pattern) => matchesResource(pattern, request)) &&
    statement.conditions.every((condition) => holds(condition, request) ?? statement.effect === "deny")
  );
}

function isAbout({ principals, effect }: PolicyStatement, caller: PolicyCaller): boolean {
  if (principals === null) return effect === "deny";
  return principals.some((principal) => isPrincipal(principal, caller));
}

function isPrincipal({ account, user }: Principal, caller: PolicyCaller): boolean {
  const isOwnNumber = (number: string) => number === caller.appId || number === caller.uin;
  if (account !== "*" && !isOwnNumber(account)) return false;
  if (user === "*") return true;
  return caller.subUin === undefined ? isOwnNumber(user) : user === caller.subUin;
}

function matchesAction(pattern: string, operation: Operation): boolean {
  return matchesGlob(pattern.toLowerCase(), actionNames[operation].toLowerCase());
}

const bareName = /^[^:/]*$/;
const resourceName = /^qcs:[^:]*:([^:]*):([^:]*):([^:]*):(.*)$/s;

/** Whether a resource of a statement has one of the forms of section 1; what has another is about nothing. */
export function isResourcePattern(text: string): boolean {
  return bareName.test(text) || resourceName.test(text);
}

/** A name of the vault is also about everything in it (7); a longer name only about what it says. */
function matchesResource(pattern: string, { vault, resource }: AccessRequest): boolean {
  if (bareName.test(pattern)) return matchesGlob(pattern, vault.name);
  const match = resourceName.exec(pattern);
  if (!match) return false;
  const [, service = "", region = "", account = "", path = ""] = match;
  const within = path.replace(/^vault\//, "vaults/");
  return (
    matchesGlob(service, "cas") &&
    (region === "" || matchesGlob(region, vault.region)) &&
    (account === "" || account === "uid/" || matchesGlob(account, `uid/${vault.appId}`)) &&
    (matchesGlob(within, `vaults/${vault.name}`) || matchesGlob(within, resource))
  );
}

/** Undefined when the condition is not known. */
function holds(condition: Condition, request: AccessRequest): boolean | undefined {
  switch (condition.kind) {
    case "address":
      // A connection that has just ended has no address any more.
      if (isIP(request.address) === 0) return undefined;
      return isIn(condition.networks, request.address) === (condition.comparison === "equal");
    case "time":
      // Policies have whole seconds.
      return compares(wholeSeconds(request.now), condition.comparison, condition.values.map(wholeSeconds));
    case "archive-age-days":
      if (request.archiveAgeDays === null) return false;
      return compares(request.archiveAgeDays, condition.comparison, condition.values);
    case "tag":
      return false;
    case "unknown":
      return undefined;
  }
}

const wholeSeconds = (instant: Instant) => Math.floor(instant / 1000);

function compares(actual: number, comparison: Comparison, values: readonly number[]): boolean {
  switch (comparison) {
    case "equal":
      return values.includes(actual);
    case "not-equal":
      return !values.includes(actual);
    case "less":
      return values.some((value) => actual < value);
    case "less-or-equal":
      return values.some((value) => actual <= value);
    case "greater":
      return values.some((value) => actual > value);
    case "greater-or-equal":
      return values.some((value) => actual >= value);
  }
}

function isIn(networks: readonly Network[], address: string): boolean {
  const list = new BlockList();
  for (const network of networks) list.addSubnet(network.address, network.prefixLength, network.family);
  return list.check(address, address.includes(":") ? "ipv6" : "ipv4");
}
