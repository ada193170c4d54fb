/**
 * Counters and histograms from events, in the text format of Prometheus.
 *
 * Relies on: events carry no secrets. Labels have few values: operations, outcomes, reasons; never a path or an id.
 * Never: asks anything on its own; gauges are read when somebody scrapes.
 */

import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";
import type { CasfsEvent, Observer } from "../domain/events.js";

/** What is so at this moment; read for each scrape, so it must be cheap. */
export interface MetricGauges {
  /** Bytes of staging files that are not archived yet. */
  stagedBytes(): number;
  /** Contents that are not archived yet. */
  pendingUploads(): number;
  cacheBytes(): number;
  runningRecalls(): number;
  /** Writers that wait for room. */
  waitingWriters(): number;
}

/** Seconds: from a request that is answered at once to one that sends a large part. */
const durationBuckets = [0.005, 0.02, 0.1, 0.5, 2, 10, 60, 300];

export class Metrics {
  readonly contentType: string;
  readonly #registry = new Registry();
  readonly #calls = this.#counter("service_calls_total", "Requests to the archive service", "operation", "outcome");
  readonly #retries = this.#counter("service_retries_total", "Requests that were tried again", "operation");
  readonly #uploads = this.#counter("uploads_total", "Uploads of contents, by how they ended", "outcome");
  readonly #uploadedBytes = this.#counter("uploaded_bytes_total", "Bytes of confirmed archives");
  readonly #recalls = this.#counter("recalls_total", "Recalls, by what happened to them", "outcome");
  readonly #recalledBytes = this.#counter("recalled_bytes_total", "Bytes of recalls that have landed");
  readonly #corruptPieces = this.#counter("corrupt_pieces_total", "Downloaded pieces whose hash was wrong");
  readonly #evictedBytes = this.#counter("evicted_bytes_total", "Bytes of cached copies that were dropped");
  readonly #deletes = this.#counter("archives_deleted_total", "Archives deleted in the service");
  readonly #inventories = this.#counter("inventories_total", "Inventories, by what happened to them", "outcome");
  readonly #failures = this.#counter(
    "request_failures_total",
    "Requests of the kernel that failed unexpectedly",
    "operation",
  );
  readonly #warnings = this.#counter("warnings_total", "Warnings in the log");
  readonly #durations = new Histogram({
    name: "casfs_service_call_seconds",
    help: "How long requests to the archive service take",
    labelNames: ["operation"],
    buckets: durationBuckets,
    registers: [this.#registry],
  });

  constructor() {
    this.contentType = this.#registry.contentType;
    collectDefaultMetrics({ register: this.#registry });
  }

  /** Adds what is read for each scrape. */
  watch(gauges: MetricGauges): void {
    this.#gauge("staged_bytes", "Bytes that are not archived yet", gauges.stagedBytes);
    this.#gauge("pending_uploads", "Contents that are not archived yet", gauges.pendingUploads);
    this.#gauge("cache_bytes", "Bytes of verified copies", gauges.cacheBytes);
    this.#gauge("running_recalls", "Recalls that have not landed", gauges.runningRecalls);
    this.#gauge("waiting_writers", "Writers that wait for room", gauges.waitingWriters);
  }

  readonly observer: Observer = (event) => this.#observe(event);

  /** What Prometheus scrapes. */
  text(): Promise<string> {
    return this.#registry.metrics();
  }

  #observe(event: CasfsEvent): void {
    switch (event.type) {
      case "service-call":
        this.#calls.inc({ operation: event.operation, outcome: event.outcome });
        this.#durations.observe({ operation: event.operation }, event.durationMs / 1000);
        break;
      case "service-retry":
        this.#retries.inc({ operation: event.operation });
        break;
      case "upload-confirmed":
        this.#uploads.inc({ outcome: "confirmed" });
        this.#uploadedBytes.inc(event.sizeBytes);
        break;
      case "upload-unneeded":
        this.#uploads.inc({ outcome: "unneeded" });
        break;
      case "upload-failed":
        this.#uploads.inc({ outcome: "failed" });
        break;
      case "recall-started":
        this.#recalls.inc({ outcome: event.joined ? "joined" : "started" });
        break;
      case "recall-landed":
        this.#recalls.inc({ outcome: "landed" });
        this.#recalledBytes.inc(event.sizeBytes);
        break;
      case "recall-failed":
        this.#recalls.inc({ outcome: "failed" });
        break;
      case "recall-refused":
        this.#recalls.inc({ outcome: event.reason }, event.repeats + 1);
        break;
      case "piece-corrupt":
        this.#corruptPieces.inc();
        break;
      case "content-evicted":
        this.#evictedBytes.inc(event.sizeBytes);
        break;
      case "archive-deleted":
        this.#deletes.inc();
        break;
      case "inventory-merged":
        this.#inventories.inc({ outcome: "merged" });
        break;
      case "inventory-failed":
        this.#inventories.inc({ outcome: "failed" });
        break;
      case "request-failed":
        this.#failures.inc({ operation: event.operation });
        break;
      case "warning":
        this.#warnings.inc();
        break;
      default:
        // What only a person wants to know.
        break;
    }
  }

  #counter<L extends string>(name: string, help: string, ...labelNames: readonly L[]): Counter<L> {
    return new Counter({ name: `casfs_${name}`, help, labelNames, registers: [this.#registry] });
  }

  #gauge(name: string, help: string, read: () => number): void {
    const gauge: Gauge = new Gauge({
      name: `casfs_${name}`,
      help,
      registers: [this.#registry],
      collect: () => gauge.set(read()),
    });
  }
}
