import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { httpCasService } from "../../src/client/http-cas-service.js";
import { observedService } from "../../src/client/observed-service.js";
import { retryingService } from "../../src/client/retrying-service.js";
import { throttledService } from "../../src/client/throttled-service.js";
import { startServer } from "../../src/server/server.js";
import { FakeClock } from "../support/fake-clock.js";
import { MemoryCasService } from "../support/memory-cas-service.js";
import { contractTimes, describeCasService } from "./cas-service-contract.js";

const account = { appId: "1250000000", secretId: "exampleSecretId", secretKey: "exampleSecretKey/with+symbols==" };

describeCasService("in memory", async () => {
  const clock = new FakeClock();
  return { service: new MemoryCasService({ clock, ...contractTimes }), clock, close: async () => undefined };
});

describeCasService("in memory, behind every wrapper", async () => {
  const clock = new FakeClock();
  const memory = new MemoryCasService({ clock, ...contractTimes });
  const limits = { transfersMax: 3, callsMax: 3, callsPerSecond: 1e6 };
  // One attempt: a digest fault is worth repeating, and nobody would move the clock for its pause.
  const retry = { clock, random: () => 0, retry: { attemptsMax: 1 } };
  const observer = () => undefined;
  const service = observedService(retryingService(throttledService(memory, { limits, clock }), retry), {
    observer,
    clock,
  });
  return { service, clock, close: async () => undefined };
});

describeCasService("over HTTP to the local server", async () => {
  const clock = new FakeClock();
  const dataDirectory = await mkdtemp(join(tmpdir(), "casfs-contract-"));
  const server = await startServer({
    ...account,
    ...contractTimes,
    dataDirectory,
    host: "127.0.0.1",
    port: 0,
    region: "local",
    inventoryIntervalMs: 0,
    // The canonical form is all that our client may need.
    strictSignature: true,
    clockSkewMs: 0,
    clock,
  });
  const service = httpCasService({ endpoint: server.url, appId: account.appId, credentials: account, clock });
  const close = async () => {
    await service.close();
    await server.close();
    await rm(dataDirectory, { recursive: true, force: true });
  };
  return { service, clock, close };
});
