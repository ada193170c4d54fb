/** Sections 6-12: each operation's success, to the letter. The rows are in `support/operation-rows.ts`. */

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { matchRoute, type Operation } from "../../src/protocol/routes.js";
import { operationRows } from "./support/operation-rows.js";
import { World } from "./support/world.js";

let world: World;
beforeAll(async () => {
  world = await World.start();
});
afterAll(() => world[Symbol.asyncDispose]());

describe.each(Object.entries(operationRows))("%s", (operation, rows) => {
  test.each(rows)("$promise", async (row) => {
    world.wire.log.length = 0;
    await row.run(world);
    const done = world.wire.log.filter(({ status }) => status < 300).map(operationOf);
    expect(done, "the row is about the operation that it is listed under").toContain(operation);
    // Nobody listens at the address that one row has as a job's CallBackUrl.
    expect(world.server.warnings.filter((warning) => !warning.includes("notification"))).toEqual([]);
  });
});

function operationOf({ method, target }: { readonly method: string; readonly target: string }): Operation | undefined {
  const match = matchRoute(method, target.split("?")[0]!);
  return match.ok ? match.route.operation : undefined;
}
