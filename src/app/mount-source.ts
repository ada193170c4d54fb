/** The first field of a mount's line in /proc/mounts, by which the command line finds its state directory. */

const prefix = "casfs:";

export function mountSource(stateDirectory: string): string {
  return `${prefix}${stateDirectory}`;
}

/** The state directory that `source` names; undefined when it is not an absolute path in our form. */
export function stateDirectoryOf(source: string): string | undefined {
  return source.startsWith(`${prefix}/`) ? source.slice(prefix.length) : undefined;
}
