/** Many small archives, several at a time. Both sides sync each one before they answer. */

import { report } from "../command.js";
import type { Report } from "../programs/measured.js";
import type { Bench, Contestant, Row } from "../row.js";
import type { Scale } from "../scale.js";
import { type Server, startPlainServer, startService } from "../server.js";

const sizeBytes = 4096;
const concurrency = 8;

export const smallUploadsRow = ({ uploads, roundsMax }: Scale): Row => ({
  name: "sdk-small-uploads",
  work: "uploads of 4 KiB, 8 at a time, SDK",
  reference: "node:http + fdatasync",
  rounds: Math.min(3, roundsMax),
  target: { kind: "rate", atLeast: 0.5, operations: uploads },
  prepare: async (bench) => ({
    casfs: uploading(bench, startService, "sdk-client", uploads),
    reference: uploading(bench, startPlainServer, "plain-client", uploads),
  }),
});

function uploading(bench: Bench, start: (place: string) => Promise<Server>, client: string, count: number): Contestant {
  return {
    round: async () => {
      const server = await start(bench.place("small-uploads"));
      const { ms } = report<Report>(client, "small", server.url, count, sizeBytes, concurrency);
      await server.close();
      return ms;
    },
  };
}
