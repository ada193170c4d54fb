/**
 * The compiled server in a process of its own, for tests that kill it.
 *
 * Takes the data directory and a JSON object of options; prints its port, and `failed: <message>` when it cannot start.
 */
import { startServer } from "../../dist/server/server.js";

const [dataDirectory, optionsText = "{}"] = process.argv.slice(2);
const clock = {
  now: () => Date.now(),
  sleep: (durationMs) => new Promise((resolve) => setTimeout(resolve, durationMs)),
};

try {
  const server = await startServer({
    dataDirectory,
    host: "127.0.0.1",
    port: 0,
    appId: "1250000000",
    secretId: "AKIDexample",
    secretKey: "exampleSecretKey",
    region: "ap-chengdu",
    retrievalMs: { expedited: 0, standard: 0, bulk: 0, inventory: 0 },
    inventoryIntervalMs: 0,
    outputLifetimeMs: 86_400_000,
    uploadLifetimeMs: 86_400_000,
    strictSignature: false,
    clockSkewMs: 300_000,
    clock,
    observer: (event) => console.error(JSON.stringify(event)),
    ...JSON.parse(optionsText),
  });
  process.on("SIGTERM", () => server.close().then(() => process.exit(0)));
  console.log(`port: ${server.port}`);
} catch (error) {
  console.log(`failed: ${error.message}`);
  process.exitCode = 1;
}
