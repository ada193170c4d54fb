/**
 * `plain-server DIR`: the least that a server of files can do, as a reference.
 *
 * A PUT of `/NAME` is written to DIR/NAME and answered once it is synced; a GET sends it back.
 */

import { createReadStream, createWriteStream } from "node:fs";
import { stat } from "node:fs/promises";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";

const directory = process.argv[2]!;

const server = createServer({ highWaterMark: 1024 * 1024 }, (request, response) => {
  const path = join(directory, request.url!.slice(1));
  const work = request.method === "PUT" ? receive(path, request, response) : send(path, response);
  work.catch((error: unknown) => {
    console.error(error);
    response.destroy();
  });
});
server.listen(0, "127.0.0.1", () => {
  console.log(`listening on http://127.0.0.1:${(server.address() as AddressInfo).port}`);
});

async function receive(path: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
  await pipeline(request, createWriteStream(path, { highWaterMark: 1024 * 1024, flush: true }));
  response.writeHead(201, { "content-length": "0" }).end();
}

async function send(path: string, response: ServerResponse): Promise<void> {
  response.writeHead(200, { "content-length": String((await stat(path)).size) });
  await pipeline(createReadStream(path, { highWaterMark: 1024 * 1024 }), response);
}
