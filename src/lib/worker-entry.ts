/** Where the entry file of a worker thread is, from the compiled package and from its sources alike. */

/**
 * The URL of the worker entry `specifier` (a `.js` file) beside the module `callerUrl` (its `import.meta.url`).
 *
 * A worker thread of Node 20 cannot load TypeScript. When the caller itself runs as `.ts`, which only a test runner
 * does, the entry is taken from the compiled `dist` folder, so a build has to precede the tests.
 */
export function workerEntry(callerUrl: string, specifier: string): URL {
  const entry = new URL(specifier, callerUrl);
  if (!new URL(callerUrl).pathname.endsWith(".ts")) return entry;
  const source = entry.pathname.lastIndexOf("/src/");
  if (source >= 0) entry.pathname = `${entry.pathname.slice(0, source)}/dist/${entry.pathname.slice(source + 5)}`;
  return entry;
}
