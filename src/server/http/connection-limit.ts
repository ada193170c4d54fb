/** How many connections are open at once (cas-api section 15.12: the Python client leaves its connections open). */

import type { Server } from "node:http";

// Above this share of the limit, those that only wait for a next request have to go.
const crowdedShare = 0.75;

/** Beyond `connectionsMax` a new connection is closed at once; before that, idle ones make room for it. */
export function limitConnections(server: Server, connectionsMax: number): void {
  server.maxConnections = connectionsMax;
  let open = 0;
  server.on("connection", (socket) => {
    open += 1;
    socket.once("close", () => {
      open -= 1;
    });
    if (open > connectionsMax * crowdedShare) server.closeIdleConnections();
  });
}
