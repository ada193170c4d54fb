/** Events become numbers, in the format of Prometheus; a mount serves them. */

import { expect, test } from "vitest";
import { serveMetrics } from "../../src/app/metrics-server.js";
import { archiveId, type ContentId, jobId } from "../../src/domain/ids.js";
import { Metrics } from "../../src/observability/metrics.js";
import { TestMount } from "../support/casfs-process.js";
import { shell, whyNoMount } from "../support/fuse-environment.js";

const archive = archiveId("a".repeat(138));
const gauges = {
  stagedBytes: () => 1,
  pendingUploads: () => 2,
  cacheBytes: () => 3,
  runningRecalls: () => 4,
  waitingWriters: () => 5,
};

test("counts what happened, and reads what is so", async () => {
  const metrics = new Metrics();
  const { observer } = metrics;
  metrics.watch(gauges);
  observer({ type: "service-call", operation: "uploadPart", durationMs: 30, outcome: "ok" });
  observer({ type: "service-call", operation: "uploadPart", durationMs: 30, outcome: "throttled" });
  observer({ type: "upload-confirmed", content: 1 as ContentId, archiveId: archive, sizeBytes: 700, durationMs: 1 });
  observer({ type: "recall-started", archiveId: archive, jobId: jobId("j"), joined: true, sizeBytes: 5 });
  observer({ type: "recall-landed", archiveId: archive, sizeBytes: 900, durationMs: 1 });
  const refused = { pid: 1, command: "updatedb", path: "v/a", sizeBytes: 1, message: "", repeats: 4 };
  observer({ type: "recall-refused", reason: "denied", ...refused });
  const lines = (await metrics.text()).split("\n");
  expect(lines).toEqual(
    expect.arrayContaining([
      'casfs_service_calls_total{operation="uploadPart",outcome="ok"} 1',
      'casfs_service_calls_total{operation="uploadPart",outcome="throttled"} 1',
      'casfs_service_call_seconds_bucket{le="0.02",operation="uploadPart"} 0',
      'casfs_service_call_seconds_bucket{le="0.1",operation="uploadPart"} 2',
      'casfs_uploads_total{outcome="confirmed"} 1',
      "casfs_uploaded_bytes_total 700",
      'casfs_recalls_total{outcome="joined"} 1',
      'casfs_recalls_total{outcome="denied"} 5',
      "casfs_recalled_bytes_total 900",
      "casfs_staged_bytes 1",
      "casfs_pending_uploads 2",
      "casfs_waiting_writers 5",
    ]),
  );
  expect(lines.join()).toContain("nodejs_eventloop_lag");
});

test("nothing but GET /metrics is answered, and a port in use is said", async () => {
  await using server = await serveMetrics({ host: "127.0.0.1", port: 0 }, new Metrics());
  const get = (path: string, method = "GET") => fetch(`http://${server.address}${path}`, { method });
  expect((await get("/metrics?x=1")).status).toBe(200);
  expect((await get("/")).status).toBe(404);
  expect((await get("/metrics", "POST")).status).toBe(404);
  const port = Number(server.address.split(":")[1]);
  await expect(serveMetrics({ host: "127.0.0.1", port }, new Metrics())).rejects.toThrow("Cannot serve metrics on");
});

const reason = whyNoMount();

test.skipIf(reason !== undefined)(
  `a mount serves its metrics${reason ? ` (skipped: ${reason})` : ""}`,
  async () => {
    await using mount = await TestMount.make();
    await mount.mount(["--metrics", "127.0.0.1:0", "--settle", "1h"]);
    await shell('mkdir "$1"; head -c 5000 /dev/zero >"$1/a"', mount.path("v"));
    const address = /metrics are at (\S+)/.exec(mount.running.stderr())?.[1];
    let text = "";
    // The kernel tells of the end of a file a moment after close() has returned.
    for (let round = 0; round < 100 && !text.includes("casfs_pending_uploads 1"); round++) {
      text = await (await fetch(address!)).text();
    }
    expect(text).toContain('casfs_service_calls_total{operation="createVault",outcome="ok"} 1');
    expect(text).toMatch(/^casfs_staged_bytes [1-9]/m);
    expect(text).toContain("casfs_pending_uploads 1");
  },
  60_000,
);
