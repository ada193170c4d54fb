/** One large archive up and down over loopback, with the SDK in a process of its own. */

import { rmSync } from "node:fs";
import { join } from "node:path";
import { report, run } from "../command.js";
import { settleMachine } from "../machine.js";
import type { Report } from "../programs/measured.js";
import type { Bench, Contestant, Row } from "../row.js";
import { type Server, startPlainServer, startService } from "../server.js";

const mebibytes = 1024;
const plain = "node:http + SHA-256";

/** Both sides sync what they have received before they answer, and read it once more or once less to hash it. */
export const uploadRow: Row = {
  name: "sdk-upload-1g",
  work: "upload of 1 GiB to casfs serve, SDK",
  reference: plain,
  rounds: 3,
  target: { kind: "time", atMost: 2 },
  prepare: async (bench) => {
    const source = join(bench.place("upload-source"), "large");
    run("dd", "if=/dev/urandom", `of=${source}`, "bs=1M", `count=${mebibytes}`);
    return {
      casfs: uploading(bench, startService, (url) => report<Report>("sdk-client", "upload", url, source)),
      reference: uploading(bench, startPlainServer, (url) => report<Report>("plain-client", "upload", url, source)),
    };
  },
};

export const downloadRow: Row = {
  name: "sdk-download-1g",
  work: "download of 1 GiB from casfs serve, SDK",
  reference: plain,
  rounds: 3,
  target: { kind: "time", atMost: 1.5 },
  prepare: async (bench) => {
    const place = bench.place("download");
    const source = join(place, "large");
    run("dd", "if=/dev/urandom", `of=${source}`, "bs=1M", `count=${mebibytes}`);
    const service = await startService(place);
    const { job } = report<{ job: string }>("sdk-client", "store", service.url, source);
    const server = await startPlainServer(place);
    return {
      casfs: downloading(bench, service, (file) => report<Report>("sdk-client", "download", service.url, job, file)),
      reference: downloading(bench, server, (file) => report<Report>("plain-client", "download", server.url, file)),
    };
  },
};

function uploading(
  bench: Bench,
  start: (place: string) => Promise<Server>,
  upload: (url: string) => Report,
): Contestant {
  return {
    round: async () => {
      const place = bench.place("upload");
      const server = await start(place);
      settleMachine(bench);
      const { ms } = upload(server.url);
      await server.close();
      rmSync(place, { recursive: true });
      return ms;
    },
  };
}

function downloading(bench: Bench, server: Server, download: (file: string) => Report): Contestant {
  return {
    round: async () => {
      const place = bench.place("downloaded");
      settleMachine(bench);
      const { ms } = download(join(place, "large"));
      rmSync(place, { recursive: true });
      return ms;
    },
    close: () => server.close(),
  };
}
