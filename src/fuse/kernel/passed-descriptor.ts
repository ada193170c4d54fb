/**
 * Receives an open file descriptor from another process (SCM_RIGHTS, unix(7)), which Node has no call for.
 *
 * Relies on: the optional package `koffi` for socketpair(2) and recvmsg(2); loaded when first needed, because only
 * ordinary users do. The layouts are those of 64-bit Linux.
 */

import { endianness } from "node:os";
import { FileSystemError } from "../../domain/errors.js";

/** Two connected sockets of this process. Whoever takes them closes them. */
export interface SocketPair {
  readonly ours: number;
  readonly theirs: number;
  /**
   * Takes the descriptor that has been sent to `ours`; it is closed on exec. Does not wait.
   *
   * @returns undefined when none has arrived.
   */
  receive(): number | undefined;
}

type Koffi = typeof import("koffi").default;

const AF_UNIX = 1;
const SOCK_STREAM = 1;
const SOCK_CLOEXEC = 0o2000000;
const SOL_SOCKET = 1;
const SCM_RIGHTS = 1;
const MSG_DONTWAIT = 0x40;
const MSG_CMSG_CLOEXEC = 0x40000000;

/** @throws FileSystemError "not-supported" where the package cannot be loaded. */
export async function socketPair(): Promise<SocketPair> {
  const koffi = await loadKoffi();
  const libc = koffi.load(null);
  const makePair = libc.func("int socketpair(int domain, int type, int protocol, _Out_ int *pair)");
  const receiveMessage = libc.func("intptr_t recvmsg(int socket, void *message, int flags)");
  const pair = [0, 0];
  if (makePair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) !== 0) {
    throw new FileSystemError("unavailable", `Cannot make a pair of sockets (error ${koffi.errno()})`);
  }
  const [ours = -1, theirs = -1] = pair;
  return {
    ours,
    theirs,
    receive() {
      const message = new MessageBuffer(koffi);
      const length = receiveMessage(ours, message.address, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
      return Number(length) > 0 ? message.descriptor() : undefined;
    },
  };
}

async function loadKoffi(): Promise<Koffi> {
  if (endianness() !== "LE" || !["x64", "arm64", "riscv64", "loong64"].includes(process.arch)) {
    throw new FileSystemError("not-supported", `Cannot receive a file descriptor on ${process.arch}`);
  }
  try {
    return (await import("koffi")).default;
  } catch (cause) {
    throw new FileSystemError("not-supported", "Cannot receive the FUSE device: the package koffi does not load", {
      cause,
      hint: "Install it with `npm install koffi`, or mount as root, which does not need it",
    });
  }
}

/** A msghdr with room for one byte and one descriptor, at an address that does not move. */
class MessageBuffer {
  readonly address: bigint;
  readonly #view: DataView;

  /*
   * 0: struct msghdr (56 bytes): name, namelen, iov, iovlen, control, controllen, flags
   * 64: struct iovec: base, length; 80: the byte
   * 96: struct cmsghdr: length (8), level (4), type (4), then the descriptor at 112
   */
  constructor(koffi: Koffi) {
    const room = koffi.alloc("uint8_t", 120) as bigint;
    this.address = room;
    this.#view = new DataView(koffi.view(room, 120));
    const setWord = (offset: number, value: bigint) => this.#view.setBigUint64(offset, value, true);
    for (let offset = 0; offset < 120; offset += 8) setWord(offset, 0n);
    setWord(16, room + 64n);
    setWord(24, 1n);
    setWord(32, room + 96n);
    setWord(40, 24n);
    setWord(64, room + 80n);
    setWord(72, 1n);
  }

  descriptor(): number | undefined {
    const [length, level, type] = [96, 104, 108].map((offset) => this.#view.getInt32(offset, true));
    return length === 20 && level === SOL_SOCKET && type === SCM_RIGHTS ? this.#view.getInt32(112, true) : undefined;
  }
}
