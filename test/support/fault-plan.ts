/**
 * A script of what goes wrong between a client and the server, for `fault-proxy.ts`.
 *
 *   const plan = new FaultPlan([
 *     on("uploadPart", { nth: 2 }, faults.lostAnswer()),
 *     on(["describeJob", "listJobs"], { next: 3 }, faults.throttled()),
 *     on("getJobOutput", { from: 1 }, faults.corruptedAnswer()),
 *   ]);
 *   await using proxy = await FaultProxy.start(server.running.port, plan);
 *   …the client uses proxy.url…
 *   plan.expectAllHit(); // disposing the proxy does the same
 *
 * A request meets one fault at most: that of the first rule whose turn it is. A rule that another one has beaten to a
 * request takes the next. A fault counts as hit when it has acted: a byte behind the end of a body corrupts nothing.
 */

import type { Operation } from "../../src/protocol/routes.js";

/** Times are real milliseconds. Offsets are bytes of a body; the middle of it by default. */
export type Fault =
  | { readonly kind: "delay"; readonly before: "request" | "answer"; readonly ms: number }
  /** Goes on to the server when the test says so. */
  | { readonly kind: "hold"; readonly until: Promise<void> }
  /** Answered by the proxy; the server never sees the request. */
  | { readonly kind: "answer"; readonly status: number; readonly headers: readonly string[]; readonly body: string }
  /** Bytes that are no HTTP, then the end of the connection; the server never sees the request. */
  | { readonly kind: "garbage" }
  | { readonly kind: "reset"; readonly at: "request" }
  | { readonly kind: "reset"; readonly at: "request-body"; readonly afterBytes?: number | undefined }
  /** The server has answered, the client never sees it. */
  | { readonly kind: "reset"; readonly at: "answer" }
  /** Nothing more comes until the client gives up. At "request" the server sees nothing of it. */
  | { readonly kind: "stall"; readonly at: "request" | "answer" }
  | { readonly kind: "stall"; readonly at: "answer-body"; readonly afterBytes?: number | undefined }
  /** The connection ends in the middle of the body that Content-Length has announced. */
  | { readonly kind: "truncate"; readonly afterBytes?: number | undefined }
  /** One bit of one byte is another. */
  | { readonly kind: "corrupt"; readonly body: "request" | "answer"; readonly atByte?: number | undefined }
  /** `change` gives the new text of the answer's body, or the same when it has nothing to do with it. */
  | { readonly kind: "rewrite"; readonly change: (body: string) => string }
  /** `change` gives the new value of a header of the answer, or undefined for an answer without it. */
  | { readonly kind: "alter-header"; readonly name: string; readonly change: (value: string) => string | undefined };

export interface NamedFault {
  /** For messages. */
  readonly name: string;
  readonly fault: Fault;
  /** Whether the server has carried out the request that meets it. */
  readonly reachesServer: boolean;
}

/** Of the requests that match a rule, counted from 1: one, the first few, every k-th, or all from one on. */
export type Occurrence =
  | { readonly nth: number }
  | { readonly next: number }
  | { readonly every: number }
  | { readonly from: number };

export interface SeenRequest {
  /** Null for a path that is none of the service's. */
  readonly operation: Operation | null;
  readonly method: string;
  /** With the query. */
  readonly target: string;
  header(name: string): string | undefined;
}

export interface Rule {
  readonly operations: readonly Operation[] | "any";
  readonly occurrence: Occurrence;
  readonly named: NamedFault;
  readonly where: (request: SeenRequest) => boolean;
}

export function on(
  operations: Operation | readonly Operation[] | "any",
  occurrence: Occurrence,
  named: NamedFault,
  where: (request: SeenRequest) => boolean = () => true,
): Rule {
  const list = operations === "any" || typeof operations !== "string" ? operations : [operations];
  return { operations: list, occurrence, named, where };
}

/** A fault that one request is about to meet. */
export interface PlannedFault extends NamedFault {
  /** It has acted. */
  hit(): void;
}

export class FaultPlan {
  readonly #turns: RuleTurns[];
  readonly #mustHit: boolean;

  /** @param options.mustHit False for a plan made at random, some of whose faults may find no request. */
  constructor(rules: readonly Rule[] = [], { mustHit = true }: { readonly mustHit?: boolean } = {}) {
    this.#turns = rules.map((rule) => new RuleTurns(rule));
    this.#mustHit = mustHit;
  }

  /** Counts `request` for all rules; what it meets, if anything. */
  faultFor(request: SeenRequest): PlannedFault | undefined {
    const due = this.#turns.filter((turns) => turns.count(request))[0];
    if (due === undefined) return undefined;
    due.taken += 1;
    const hit = () => {
      due.hits += 1;
    };
    return { ...due.rule.named, hit };
  }

  /** How often a fault has acted. */
  get hits(): number {
    return this.#turns.reduce((sum, { hits }) => sum + hits, 0);
  }

  /** @throws Error that names the faults which have not acted, or not as often as the plan says. */
  expectAllHit(): void {
    const missed = this.#turns.filter((turns) => turns.hits < turns.expected).map(String);
    if (this.#mustHit && missed.length > 0) throw new Error(`Faults that were not hit: ${missed.join("; ")}`);
  }
}

/** What has become of one rule so far. */
class RuleTurns {
  taken = 0;
  hits = 0;
  #seen = 0;

  constructor(readonly rule: Rule) {}

  get expected(): number {
    return "next" in this.rule.occurrence ? this.rule.occurrence.next : 1;
  }

  /** Counts a request that matches; whether it is this rule's turn. */
  count(request: SeenRequest): boolean {
    const { operations, where } = this.rule;
    const isMeant = operations === "any" || (request.operation !== null && operations.includes(request.operation));
    if (!isMeant || !where(request)) return false;
    this.#seen += 1;
    return this.taken < this.#due();
  }

  /** How many times it should have been taken by now. */
  #due(): number {
    const { occurrence } = this.rule;
    if ("nth" in occurrence) return this.#seen >= occurrence.nth ? 1 : 0;
    if ("next" in occurrence) return Math.min(this.#seen, occurrence.next);
    if ("every" in occurrence) return Math.floor(this.#seen / occurrence.every);
    return Math.max(0, this.#seen - occurrence.from + 1);
  }

  toString(): string {
    const { operations, occurrence, named } = this.rule;
    const when = Object.entries(occurrence).flat().join(" ");
    return `${named.name} on ${String(operations)} (${when}; hit ${this.hits} times in ${this.#seen} requests)`;
  }
}

const unreached = (name: string, fault: Fault): NamedFault => ({ name, fault, reachesServer: false });
const reached = (name: string, fault: Fault): NamedFault => ({ name, fault, reachesServer: true });

/** An error of the service as it puts it on the wire (cas-api section 4.1). */
function refusal(status: number, code: string, type = "Client"): NamedFault {
  const body = JSON.stringify({ code, message: "This answer is part of a test", type });
  return unreached(`${status} ${code}`, answer(status, "application/json", body));
}

function answer(status: number, contentType: string, body: string): Fault {
  const headers = [`Content-Type: ${contentType}`, `Content-Length: ${Buffer.byteLength(body)}`];
  return { kind: "answer", status, headers: [...headers, "x-cas-requestId: fault"], body };
}

/** Every kind of fault there is; "lost" and "silent" leave the client without knowing whether its request was done. */
export const faults = {
  delayedRequest: (ms: number) => reached("a delayed request", { kind: "delay", before: "request", ms }),
  delayedAnswer: (ms: number) => reached("a delayed answer", { kind: "delay", before: "answer", ms }),
  heldRequest: (until: Promise<void>) => reached("a held request", { kind: "hold", until }),
  throttled: () => refusal(400, "ThrottlingException"),
  requestTimeout: () => refusal(408, "RequestTimeoutException"),
  serviceFailed: () => refusal(500, "ServiceUnavailableException", "Server"),
  noCapacity: () => refusal(503, "InsufficientCapacityException", "Server"),
  expiredSignature: () => refusal(403, "ExpiredTokenException"),
  accessDenied: () => refusal(403, "AccessDeniedException"),
  refusal,
  /** As a load balancer in front of a service that is down. */
  badGateway: () => unreached("502 with a page", answer(502, "text/html", "<html><h1>502 Bad Gateway</h1></html>")),
  garbage: () => unreached("garbage", { kind: "garbage" }),
  resetBeforeRequest: () => unreached("a reset before the request", { kind: "reset", at: "request" }),
  resetInRequestBody: (afterBytes?: number) =>
    unreached("a reset in the request's body", { kind: "reset", at: "request-body", afterBytes }),
  lostAnswer: () => reached("a lost answer", { kind: "reset", at: "answer" }),
  silence: () => unreached("silence", { kind: "stall", at: "request" }),
  silentEffect: () => reached("silence after the effect", { kind: "stall", at: "answer" }),
  stalledAnswer: (afterBytes?: number) => reached("a stalled answer", { kind: "stall", at: "answer-body", afterBytes }),
  truncatedAnswer: (afterBytes?: number) => reached("a truncated answer", { kind: "truncate", afterBytes }),
  corruptedAnswer: (atByte?: number) => reached("a corrupted answer", { kind: "corrupt", body: "answer", atByte }),
  corruptedRequest: (atByte?: number) => unreached("a corrupted request", { kind: "corrupt", body: "request", atByte }),
  /** By default a hash that is another by one digit. */
  alteredHeader: (name: string, change: (value: string) => string | undefined = otherDigit) =>
    reached(`another ${name}`, { kind: "alter-header", name, change }),
  /**
   * Retrievals that `isMeant` of their archive and job ids have failed, as Describe Job and List Jobs tell it
   * (cas-api section 11.2), while the server goes on with them.
   */
  failedJobs: (message: string, isMeant: (archive: string, job: string) => boolean) =>
    reached("a failed job", { kind: "rewrite", change: (body) => failedJobsIn(body, message, isMeant) }),
  missingHeader: (name: string) => reached(`no ${name}`, { kind: "alter-header", name, change: () => undefined }),
};

function failedJobsIn(body: string, message: string, isMeant: (archive: string, job: string) => boolean): string {
  const answer = JSON.parse(body) as { JobList?: Record<string, unknown>[] } & Record<string, unknown>;
  for (const job of answer.JobList ?? [answer]) {
    if (!isMeant(String(job.ArchiveId), String(job.JobId))) continue;
    const CompletionDate = job.CompletionDate ?? job.CreationDate;
    Object.assign(job, { Completed: true, CompletionDate, StatusCode: "Failed", StatusMessage: message });
  }
  return JSON.stringify(answer);
}

function otherDigit(value: string): string {
  return (value.startsWith("0") ? "1" : "0") + value.slice(1);
}
