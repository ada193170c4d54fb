/** One large archive up and down over loopback, with the SDK in a process of its own. */

import { rmSync } from "node:fs";
import { join } from "node:path";
import { report, run } from "../command.js";
import { settleMachine } from "../machine.js";
import type { Report } from "../programs/measured.js";
import type { Bench, Contestant, Row } from "../row.js";
import { type Scale, sizeText } from "../scale.js";
import { type Server, startPlainServer, startService } from "../server.js";

const plain = "node:http + SHA-256";

/** Both sides sync what they have received before they answer, and read it once more or once less to hash it. */
export const uploadRow = (scale: Scale): Row => ({
  name: "sdk-upload-1g",
  work: `upload of ${sizeText(scale)} to casfs serve, SDK`,
  reference: plain,
  rounds: Math.min(3, scale.roundsMax),
  target: { kind: "time", atMost: 2 },
  prepare: async (bench) => {
    const source = join(bench.place("upload-source"), "large");
    run("dd", "if=/dev/urandom", `of=${source}`, "bs=1M", `count=${scale.mebibytes}`);
    return {
      casfs: uploading(bench, scale, startService, (url) => report<Report>("sdk-client", "upload", url, source)),
      reference: uploading(bench, scale, startPlainServer, (url) =>
        report<Report>("plain-client", "upload", url, source),
      ),
    };
  },
});

export const downloadRow = (scale: Scale): Row => ({
  name: "sdk-download-1g",
  work: `download of ${sizeText(scale)} from casfs serve, SDK`,
  reference: plain,
  rounds: Math.min(3, scale.roundsMax),
  target: { kind: "time", atMost: 1.5 },
  prepare: async (bench) => {
    const place = bench.place("download");
    const source = join(place, "large");
    run("dd", "if=/dev/urandom", `of=${source}`, "bs=1M", `count=${scale.mebibytes}`);
    const service = await startService(place);
    const { job } = report<{ job: string }>("sdk-client", "store", service.url, source);
    const server = await startPlainServer(place);
    return {
      casfs: downloading(bench, scale, service, (file) =>
        report<Report>("sdk-client", "download", service.url, job, file),
      ),
      reference: downloading(bench, scale, server, (file) =>
        report<Report>("plain-client", "download", server.url, file),
      ),
    };
  },
});

function uploading(
  bench: Bench,
  scale: Scale,
  start: (place: string) => Promise<Server>,
  upload: (url: string) => Report,
): Contestant {
  return {
    round: async () => {
      const place = bench.place("upload");
      const server = await start(place);
      settleMachine(bench, scale);
      const { ms } = upload(server.url);
      await server.close();
      rmSync(place, { recursive: true });
      return ms;
    },
  };
}

function downloading(bench: Bench, scale: Scale, server: Server, download: (file: string) => Report): Contestant {
  return {
    round: async () => {
      const place = bench.place("downloaded");
      settleMachine(bench, scale);
      const { ms } = download(join(place, "large"));
      rmSync(place, { recursive: true });
      return ms;
    },
    close: () => server.close(),
  };
}
