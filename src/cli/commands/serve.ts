/** `casfs serve`: the local CAS service in the foreground. */

import type { Command } from "commander";
import { serveShape } from "../../config/config.js";
import { loadServeConfig, processSources } from "../../config/load-config.js";
import { configured } from "../failure.js";
import { hideSecrets, processObserver } from "../process-surroundings.js";
import { addSettings, type Flags } from "../settings-options.js";
import { stopSignals } from "../stop-signals.js";
import type { Terminal } from "../terminal.js";

export function addServeCommand(program: Command, terminal: Terminal): void {
  const command = program
    .command("serve")
    .description("run a CAS service on this machine, in the foreground; what speaks to CAS can use it");
  // A key on the command line would be seen by everybody on this machine.
  const { objectStoreKey: _onlyByFileOrVariable, ...options } = serveShape;
  addSettings(command, options).action((flags: Flags) => serve(flags, terminal));
}

async function serve(flags: Flags, terminal: Terminal): Promise<void> {
  const config = await configured(loadServeConfig(processSources(flags)));
  hideSecrets(flags, "casfs serve");
  using stop = stopSignals({ what: "The service", onRepeated: () => process.exit(1) });
  // Loaded here so that the other commands start quickly.
  const { runServer } = await import("../../app/server-app.js");
  const { credentials, dataDirectory, logLevel, objectStore } = config;
  const keys = [credentials?.secretKey, objectStore?.kind === "s3" ? objectStore.key : undefined];
  const secrets = keys.filter((key) => key !== undefined);
  await runServer(config, {
    observer: processObserver({ level: logLevel, secrets }),
    signal: stop.signal,
    onReady: (url) => {
      terminal.tell(`casfs: vaults and archives are kept in ${dataDirectory}`);
      if (credentials === undefined) terminal.tell(`casfs: the access key is in ${dataDirectory}/credentials.json`);
      terminal.print(`listening on ${url}`);
    },
  });
}
