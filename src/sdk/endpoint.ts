/** Where the service is, as an SDK's user writes it, made into one URL. */

export interface EndpointOptions {
  readonly endpoint: string;
  readonly port?: number | undefined;
  readonly isSecure?: boolean | undefined;
}

/**
 * `http(s)://host[:port]` from a host name, `host:port` or a URL.
 *
 * `isSecure` alone means TLS on port 443; in the CAS SDK for Python it meant TLS on port 80 (cas-api section 1). Port
 * 443 alone means TLS, as it does there.
 *
 * @throws RangeError for an endpoint with a path, and for a scheme or port that contradicts the other options.
 */
export function endpointUrl({ endpoint, port, isSecure }: EndpointOptions): string {
  const hasScheme = /^[a-z][a-z0-9+.-]*:\/\//i.test(endpoint);
  const namedPort = /:(\d+)\/?$/.exec(endpoint)?.[1];
  const scheme = (isSecure ?? String(port ?? namedPort) === "443") ? "https" : "http";
  const text = hasScheme ? endpoint : `${scheme}://${endpoint}`;
  if (!URL.canParse(text)) throw new RangeError(`Cannot use ${JSON.stringify(endpoint)} as an endpoint`);
  const url = new URL(text);
  const isPlain = /^https?:$/.test(url.protocol) && url.pathname === "/" && url.search === "" && url.username === "";
  if (!isPlain) throw new RangeError(`Cannot use ${JSON.stringify(endpoint)} as an endpoint: it is not a host or URL`);
  if (isSecure !== undefined && isSecure !== (url.protocol === "https:")) {
    throw new RangeError(`Cannot use ${JSON.stringify(endpoint)} as an endpoint: its scheme contradicts isSecure`);
  }
  if (port !== undefined && namedPort !== undefined && namedPort !== String(port)) {
    throw new RangeError(
      `Cannot use ${JSON.stringify(endpoint)} as an endpoint: its port contradicts the port ${port}`,
    );
  }
  return withPort(url, port);
}

function withPort(url: URL, port: number | undefined): string {
  if (port === undefined) return url.origin;
  if (!Number.isInteger(port) || port < 1 || port > 65_535) throw new RangeError(`Cannot use ${port} as a port`);
  url.port = String(port);
  return url.origin;
}
