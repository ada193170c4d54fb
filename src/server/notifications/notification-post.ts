/**
 * Sends one notification (cas-api section 8.2): a POST whose answer matters only by its status.
 *
 * The connection goes to an address that was checked, so that a name cannot be resolved to something else in between.
 * Never: follows a redirect.
 */

import { Agent, request } from "undici";
import { AbortScope, abortable } from "../../lib/abort-scope.js";
import { permittedAddresses, type ResolvedAddress, type TargetOptions } from "./notification-target.js";

export interface PostOptions extends TargetOptions {
  /** From the first packet to the end of the answer, in milliseconds. */
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

// More of an answer than this is not read; the connection is closed instead.
const answerBytesMax = 64 * 1024;

/** @throws TargetRefusedError for a host that is not allowed; another error unless the target answers 2xx. */
export async function postNotification(
  { url, body }: { readonly url: string; readonly body: string },
  options: PostOptions,
): Promise<void> {
  using scope = new AbortScope(options.signal);
  const late = new Error(`no answer within ${options.timeoutMs} ms`);
  const deadline = setTimeout(() => scope.abort(late), options.timeoutMs);
  try {
    const addresses = await abortable(permittedAddresses(new URL(url), options), scope.signal);
    await post({ url, body }, { addresses, signal: scope.signal });
  } finally {
    clearTimeout(deadline);
  }
}

async function post(
  { url, body }: { readonly url: string; readonly body: string },
  { addresses, signal }: { readonly addresses: ResolvedAddress[]; readonly signal: AbortSignal },
): Promise<void> {
  const agent = new Agent({ connect: { lookup: answering(addresses) } });
  try {
    const response = await request(url, {
      dispatcher: agent,
      method: "POST",
      headers: { "content-type": "application/json", "user-agent": "casfs" },
      body,
      signal,
    });
    await response.body.dump({ limit: answerBytesMax, signal });
    if (response.statusCode < 200 || response.statusCode > 299) throw new Error(`it answered ${response.statusCode}`);
  } finally {
    await agent.destroy();
  }
}

type LookupCallback = (error: null, address: string | ResolvedAddress[], family?: number) => void;

/** A resolver for the connection that knows nothing but the checked addresses. */
function answering(addresses: ResolvedAddress[]) {
  return (_hostname: string, { all }: { readonly all?: boolean | undefined }, callback: LookupCallback) => {
    const [first] = addresses;
    if (all === true) callback(null, addresses);
    else callback(null, first!.address, first!.family);
  };
}
