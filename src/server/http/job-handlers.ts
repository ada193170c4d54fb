/** Job operations (cas-api section 11). */

import { byteRange } from "../../domain/bytes.js";
import { formatJob, formatJobList, parseJobFilter } from "../../protocol/job-description-wire.js";
import { formatJobCreated, parseJobRequest } from "../../protocol/job-order-wire.js";
import { formatOutputHeaders, parseRange } from "../../protocol/job-output-wire.js";
import { formatPlace, parsePlace } from "../store/page-place.js";
import { type Handlers, readJson } from "./exchange.js";

export const jobHandlers: Handlers<"initiateJob" | "listJobs" | "describeJob" | "getJobOutput"> = {
  async initiateJob(cas, request, { vault }) {
    const { owner } = request;
    const judged = cas.store.vault(owner.appId, vault);
    const order = parseJobRequest(await readJson(request), { copies: cas.orders.takesCopies });
    // Who may have jobs in one vault may not have them in the next one of that name.
    cas.store.checkStillThere(judged);
    const job = await cas.orders.initiate(cas.store.vault(owner.appId, vault), owner, order);
    return { status: 202, headers: formatJobCreated(owner.appId, vault, job) };
  },

  describeJob(cas, { owner }, { vault, job }) {
    const facts = cas.jobs.describe(cas.store.vault(owner.appId, vault), job);
    return { status: 200, json: formatJob(owner, facts) };
  },

  async listJobs(cas, { owner, parameters }, { vault }) {
    const query = parseJobFilter(parameters);
    const { items, next } = await cas.jobs.list(cas.store.vault(owner.appId, vault), parsePlace(query.marker), query);
    const marker = next === undefined ? null : formatPlace({ atMs: next.createdAt, id: next.id });
    return { status: 200, json: formatJobList(owner, { items, marker }) };
  },

  getJobOutput(cas, { owner, headers }, { vault, job }) {
    const output = cas.jobs.output(cas.store.vault(owner.appId, vault), job);
    const asked = headers("range");
    const range = asked === undefined ? undefined : parseRange(asked, output.totalBytes);
    const part = range ?? byteRange(0, output.totalBytes);
    const treeHash = output.treeHash(part);
    const { contentType, totalBytes } = output;
    return { ...formatOutputHeaders({ contentType, totalBytes, range, treeHash }), output: output.read(part) };
  },
};
