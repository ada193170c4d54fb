/** How the demo talks: numbered steps, commands after `$`, their output after `|`. */

import type { Terminal } from "../terminal.js";
import type { Programs } from "./programs.js";

export interface Ran {
  /** What the command printed. */
  readonly text: string;
  readonly durationMs: number;
}

export class Guide {
  readonly #terminal: Terminal;
  readonly #programs: Programs;
  #steps = 0;

  constructor(terminal: Terminal, programs: Programs) {
    this.#terminal = terminal;
    this.#programs = programs;
  }

  step(title: string): void {
    this.#steps += 1;
    this.#terminal.print(`\n${this.#steps}. ${title}`);
  }

  say(text: string): void {
    this.#terminal.print(`   ${text}`);
  }

  command(program: string, programArguments: readonly string[]): void {
    this.say(`$ ${[program, ...programArguments].join(" ")}`);
  }

  output(text: string): void {
    for (const line of text.split("\n")) this.say(`| ${line}`);
  }

  /** Shows a command and runs it; what it printed is shown unless `quiet`. */
  async run(
    program: string,
    programArguments: readonly string[],
    { quiet = false }: { readonly quiet?: boolean } = {},
  ): Promise<Ran> {
    this.command(program, programArguments);
    const startedAt = performance.now();
    const text = await this.#programs.run(program, programArguments);
    const durationMs = performance.now() - startedAt;
    if (!quiet && text !== "") this.output(text);
    return { text, durationMs };
  }
}
