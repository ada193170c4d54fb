/** `casfs demo`: a guided round trip of real files through a mount, everything in a temporary place. */

import type { Command } from "commander";
import { DemoPlace } from "../demo/demo-place.js";
import { Guide } from "../demo/guide.js";
import { Programs } from "../demo/programs.js";
import { roundTrip } from "../demo/round-trip.js";
import { stopSignals } from "../stop-signals.js";
import type { Terminal } from "../terminal.js";

interface DemoFlags {
  readonly keep?: boolean;
}

export function addDemoCommand(program: Command, terminal: Terminal): void {
  program
    .command("demo")
    .description("a guided round trip of real files, in a temporary place that is removed again")
    .option("--keep", "leave the files of the temporary place where they are")
    .action((flags: DemoFlags) => demo(flags, terminal));
}

async function demo({ keep = false }: DemoFlags, terminal: Terminal): Promise<void> {
  using stop = stopSignals({
    what: "The demo",
    onFirst: () => terminal.tell("casfs: stopping the demo and cleaning up"),
    onRepeated: () => process.exit(1),
  });
  const place = await DemoPlace.create();
  const programs = new Programs({
    directory: place.directory,
    settingsHome: place.path("settings"),
    signal: stop.signal,
  });
  try {
    terminal.print(`A round trip in ${place.directory}: commands, shown after $, are run there.`);
    await roundTrip({ place, programs, guide: new Guide(terminal, programs) });
  } finally {
    await place.leave({ keep });
    terminal.print(
      keep ? `\nThe files are still in ${place.directory}.` : `\nEverything in ${place.directory} is removed.`,
    );
  }
}
