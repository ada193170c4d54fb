"""Random file-system calls of several processes and users, each made on a mount and on a local disk, must end alike.

    python3 storm.py MOUNTED LOCAL SEED STEPS

A coordinator says which process does what next, so a seed tells the whole story. The processes compare what each call
returned or which errno it had, and now and then the two trees. Prints nothing and exits 0 when all was alike; else the
steps that led there.
"""

import fcntl
import hashlib
import json
import mmap
import os
import random
import stat
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from support import *

# Root, an owner, somebody of his group, and a stranger.
IDENTITIES = [(0, 0, [])] * 3 + [(SOME_UID, SOME_GID, []), (OTHER_UID, OTHER_GID, [SOME_GID]), (OTHER_UID, OTHER_GID, [])]
SLOTS = 4
NAMES = ["a", "b", "c", "d", "e"]
O_TMPFILE = 0o20000000 | os.O_DIRECTORY
MODES = [0o0, 0o600, 0o644, 0o666, 0o755, 0o777, 0o777, 0o1777, 0o2775, 0o4755, 0o6777, 0o700]
SIZES = [0, 1, 100, 4095, 4096, 4097, 10_000, 70_000, 300_000]


def random_path(rng):
    depth = rng.choices([1, 2, 3], [5, 4, 1])[0]
    path = "/".join(rng.choice(NAMES) for _ in range(depth))
    return path + rng.choices(["", "/", "/.", "/.."], [30, 1, 1, 1])[0]


def random_data(rng):
    return [rng.choice([1, 5, 100, 4096, 5000, 66_000, 140_000]), rng.randrange(256)]


def random_flags(rng):
    flags = rng.choice([os.O_RDONLY, os.O_WRONLY, os.O_RDWR, os.O_RDWR])
    for flag, chance in ((os.O_CREAT, 0.7), (os.O_EXCL, 0.1), (os.O_TRUNC, 0.15), (os.O_APPEND, 0.2), (os.O_DIRECTORY, 0.03), (os.O_NOFOLLOW, 0.05)):
        if rng.random() < chance:
            flags |= flag
    return flags


STEPS = {
    "open": (25, lambda r: [r.randrange(SLOTS), random_path(r), random_flags(r), r.choice(MODES[1:6])]),
    "nameless": (1, lambda r: [r.randrange(SLOTS), random_path(r)]),
    "name": (1, lambda r: [r.randrange(SLOTS), random_path(r)]),
    "close": (5, lambda r: [r.randrange(SLOTS)]),
    "read": (4, lambda r: [r.randrange(SLOTS), r.choice(SIZES)]),
    "pread": (4, lambda r: [r.randrange(SLOTS), r.choice(SIZES), r.choice(SIZES)]),
    "write": (8, lambda r: [r.randrange(SLOTS), *random_data(r)]),
    "pwrite": (6, lambda r: [r.randrange(SLOTS), r.choice(SIZES), *random_data(r)]),
    "seek": (2, lambda r: [r.randrange(SLOTS), r.choice(SIZES), r.randrange(3)]),
    "ftruncate": (3, lambda r: [r.randrange(SLOTS), r.choice(SIZES)]),
    "truncate": (2, lambda r: [random_path(r), r.choice(SIZES)]),
    "fallocate": (2, lambda r: [r.randrange(SLOTS), r.choice([0, 1, 3, 16, 17]), r.choice(SIZES), r.choice(SIZES[1:])]),
    "copy": (2, lambda r: [r.randrange(SLOTS), r.choice(SIZES), r.randrange(SLOTS), r.choice(SIZES), r.choice(SIZES)]),
    "map": (3, lambda r: [r.randrange(SLOTS), r.randrange(5000), r.randrange(256)]),
    "flags": (1, lambda r: [r.randrange(SLOTS), r.choice([0, os.O_APPEND])]),
    "fsync": (1, lambda r: [r.randrange(SLOTS)]),
    "fstat": (2, lambda r: [r.randrange(SLOTS)]),
    "fchmod": (1, lambda r: [r.randrange(SLOTS), r.choice(MODES)]),
    "stat": (4, lambda r: [random_path(r)]),
    "lstat": (3, lambda r: [random_path(r)]),
    "access": (1, lambda r: [random_path(r), r.randrange(8)]),
    "mkdir": (8, lambda r: [random_path(r), r.choice(MODES[4:])]),
    "rmdir": (2, lambda r: [random_path(r)]),
    "unlink": (4, lambda r: [random_path(r)]),
    "rename": (6, lambda r: [random_path(r), random_path(r)]),
    "renameat2": (3, lambda r: [random_path(r), random_path(r), r.choice([1, 2, 2, 3])]),
    "link": (6, lambda r: [random_path(r), random_path(r)]),
    "symlink": (3, lambda r: [r.choice(NAMES + ["../a", "d/a", "missing", "."]), random_path(r)]),
    "readlink": (2, lambda r: [random_path(r)]),
    "mkfifo": (1, lambda r: [random_path(r), 0o644]),
    "mknod": (1, lambda r: [random_path(r), r.choice([stat.S_IFREG, stat.S_IFSOCK]) | 0o640]),
    "chmod": (2, lambda r: [random_path(r), r.choice(MODES)]),
    # Never nobody's and no group's: for a stranger that is EPERM here or there, as the set-id bits are.
    "chown": (3, lambda r: [random_path(r), r.choice([-1, 0, SOME_UID, OTHER_UID]), r.choice([0, SOME_GID, OTHER_GID])]),
    "lchown": (1, lambda r: [random_path(r), r.choice([0, SOME_UID]), r.choice([-1, SOME_GID])]),
    "utimensat": (3, lambda r: [random_path(r), random_time(r), random_time(r)]),
    "listdir": (3, lambda r: [random_path(r)]),
    "setxattr": (2, lambda r: [random_path(r), r.choice(["user.a", "user.b", "trusted.a", "user."]), r.choice([0, 10, 500]), r.randrange(3)]),
    "getxattr": (1, lambda r: [random_path(r), r.choice(["user.a", "user.b", "trusted.a"])]),
    "listxattr": (1, lambda r: [random_path(r)]),
    "removexattr": (1, lambda r: [random_path(r), r.choice(["user.a", "user.b"])]),
    "umask": (1, lambda r: [r.choice([0, 0o22, 0o77])]),
}


def random_time(rng):
    return rng.choice([(0, UTIME_NOW), (0, UTIME_OMIT), (rng.randrange(-1000, 2**32), rng.randrange(10**9)), (5, 10)])


def described(found):
    """What stat tells that two file systems must agree upon."""
    size = found.st_size if stat.S_ISREG(found.st_mode) or stat.S_ISLNK(found.st_mode) else None
    return [oct(found.st_mode), found.st_nlink, found.st_uid, found.st_gid, size]


class Side:
    """One of the two trees, as one process sees it."""

    def __init__(self, root):
        self.root = root
        self.slots = [None] * SLOTS

    def at(self, path):
        return os.path.join(self.root, path)

    def fd(self, slot):
        """The descriptor in a slot, or in the next that has one."""
        found = [fd for fd in self.slots[slot:] + self.slots[:slot] if fd is not None]
        if not found:
            raise OSError(errno.EBADF, "nothing is open")
        return found[0]

    def put(self, slot, fd):
        if self.slots[slot] is not None:
            os.close(self.slots[slot])
        self.slots[slot] = fd

    def open(self, slot, path, flags, mode):
        place = self.at(path)
        # A fifo would wait for its other end.
        self.put(slot, os.open(place, flags | os.O_NONBLOCK, mode))

    def nameless(self, slot, path):
        self.put(slot, os.open(self.at(path), O_TMPFILE | os.O_RDWR, 0o640))

    def name(self, slot, path):
        # linkat of a descriptor needs a privilege; by way of /proc it needs none.
        os.link(f"/proc/self/fd/{self.fd(slot)}", self.at(path), follow_symlinks=True)

    def close(self, slot):
        self.put(slot, None)

    def read(self, slot, length):
        return digest(os.read(self.fd(slot), length))

    def pread(self, slot, length, offset):
        return digest(os.pread(self.fd(slot), length, offset))

    def write(self, slot, length, byte):
        return os.write(self.fd(slot), bytes([byte]) * length)

    def pwrite(self, slot, offset, length, byte):
        return os.pwrite(self.fd(slot), bytes([byte]) * length, offset)

    def seek(self, slot, offset, whence):
        fd = self.fd(slot)
        # Where a listing is, is told in numbers of each file system's own.
        return None if stat.S_ISDIR(os.fstat(fd).st_mode) else os.lseek(fd, offset, whence)

    def ftruncate(self, slot, size):
        os.ftruncate(self.fd(slot), size)

    def truncate(self, path, size):
        os.truncate(self.at(path), size)

    def fallocate(self, slot, mode, offset, length):
        fallocate(self.fd(slot), mode, offset, length)

    def copy(self, source, at, target, to, length):
        done = 0
        while done < length:
            piece = os.copy_file_range(self.fd(source), self.fd(target), length - done, at + done, to + done)
            if piece == 0:
                break
            done += piece
        return done

    def map(self, slot, at, byte):
        fd = self.fd(slot)
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode) or found.st_size == 0:
            return None
        with mmap.mmap(fd, found.st_size) as memory:
            before = digest(memory[:])
            memory[at % found.st_size] = byte
            if byte % 2:
                memory.flush()
        return before

    def flags(self, slot, flags):
        # Still without waiting, for the fifos.
        fcntl.fcntl(self.fd(slot), fcntl.F_SETFL, flags | os.O_NONBLOCK)

    def fsync(self, slot):
        os.fsync(self.fd(slot))

    def fstat(self, slot):
        return described(os.fstat(self.fd(slot)))

    def fchmod(self, slot, mode):
        os.fchmod(self.fd(slot), mode)

    def stat(self, path):
        return described(os.stat(self.at(path)))

    def lstat(self, path):
        return described(os.lstat(self.at(path)))

    def access(self, path, mode):
        return os.access(self.at(path), mode)

    def mkdir(self, path, mode):
        os.mkdir(self.at(path), mode)

    def rmdir(self, path):
        os.rmdir(self.at(path))

    def unlink(self, path):
        os.unlink(self.at(path))

    def rename(self, old, new):
        os.rename(self.at(old), self.at(new))

    def renameat2(self, old, new, flags):
        renameat2(self.at(old), self.at(new), flags)

    def link(self, old, new):
        os.link(self.at(old), self.at(new), follow_symlinks=False)

    def symlink(self, target, path):
        os.symlink(target, self.at(path))

    def readlink(self, path):
        return os.readlink(self.at(path))

    def mkfifo(self, path, mode):
        os.mkfifo(self.at(path), mode)

    def mknod(self, path, mode):
        os.mknod(self.at(path), mode)

    def chmod(self, path, mode):
        os.chmod(self.at(path), mode)

    def chown(self, path, uid, gid):
        os.chown(self.at(path), uid, gid)

    def lchown(self, path, uid, gid):
        os.lchown(self.at(path), uid, gid)

    def utimensat(self, path, atime, mtime):
        utimensat(self.at(path), atime, mtime)
        found = os.stat(self.at(path))
        given = [value for value, asked in ((found.st_atime_ns, atime), (found.st_mtime_ns, mtime)) if asked[1] < 10**9]
        return given

    def listdir(self, path):
        return sorted(os.listdir(self.at(path)))

    def setxattr(self, path, name, length, flags):
        os.setxattr(self.at(path), name, b"v" * length, flags)

    def getxattr(self, path, name):
        return len(os.getxattr(self.at(path), name))

    def listxattr(self, path):
        return sorted(os.listxattr(self.at(path)))

    def removexattr(self, path, name):
        os.removexattr(self.at(path), name)

    def umask(self, mask):
        os.umask(mask)

    def run(self, step, arguments):
        try:
            return ["ok", getattr(self, step)(*arguments)]
        except OSError as error:
            return [errno_name(error.errno), None]


def steps_of(local):
    """All but what this local disk cannot do: then there is nothing to compare with."""
    probe = os.path.join(local, "probe")
    make(probe, b"probe")
    fd = os.open(probe, os.O_RDWR)
    probes = {
        ("setxattr", "getxattr", "listxattr", "removexattr"): lambda: os.setxattr(probe, "user.a", b"x"),
        ("fallocate",): lambda: fallocate(fd, ZERO_RANGE, 0, 1),
        ("nameless", "name"): lambda: os.close(os.open(local, O_TMPFILE | os.O_RDWR, 0o600)),
    }
    missing = {step for steps, probing in probes.items() if outcome(probing) != "ok" for step in steps}
    os.close(fd)
    os.unlink(probe)
    return {step: rest for step, rest in STEPS.items() if step not in missing}


def digest(data):
    return [len(data), hashlib.blake2b(data, digest_size=8).hexdigest()]


def tree(root):
    """Everything below a directory, in one dictionary. For root, who may read all."""
    found = {}
    for directory, directories, files in os.walk(root):
        for name in directories + files:
            path = os.path.join(directory, name)
            about = described(os.lstat(path))
            if stat.S_ISLNK(os.lstat(path).st_mode):
                about.append(os.readlink(path))
            elif stat.S_ISREG(os.lstat(path).st_mode):
                about.append(digest(contents(path)))
                about.append(sorted(os.listxattr(path)))
            found[os.path.relpath(path, root)] = about
    return found


def serve(identity, sides, reading, writing):
    uid, gid, groups = identity
    os.setgroups(groups)
    os.setgid(gid)
    os.setuid(uid)
    os.umask(0o022)
    for line in reading:
        step, arguments = json.loads(line)
        # Each side anew: umask belongs to the process, and nothing else is shared.
        results = [side.run(step, arguments) for side in sides]
        writing.write(json.dumps(results) + "\n")
        writing.flush()
    os._exit(0)


def start(identity, roots):
    to_child, from_child = os.pipe(), os.pipe()
    if os.fork() == 0:
        os.close(to_child[1])
        os.close(from_child[0])
        serve(identity, [Side(root) for root in roots], os.fdopen(to_child[0]), os.fdopen(from_child[1], "w"))
    os.close(to_child[0])
    os.close(from_child[1])
    return os.fdopen(to_child[1], "w"), os.fdopen(from_child[0])


def main(mounted, local, seed, steps):
    roots = [os.path.join(root, f"storm-{seed}") for root in (mounted, local)]
    for root in roots:
        os.mkdir(root)
        os.chmod(root, 0o777)
    processes = [start(identity, roots) for identity in IDENTITIES]
    rng = random.Random(seed)
    known = steps_of(local)
    kinds, weights = list(known), [weight for weight, _ in known.values()]
    history = []

    def differ(what):
        print(f"seed {seed}, step {len(history)}: {what}")
        for index, (who, step, arguments, result) in enumerate(history):
            if index >= len(history) - 60:
                print(f"  {index} {IDENTITIES[who][0]}/{who} {step}{tuple(arguments)} -> {result}")
        sys.exit(1)

    for number in range(steps):
        who = rng.randrange(len(IDENTITIES))
        step = rng.choices(kinds, weights)[0]
        arguments = STEPS[step][1](rng)
        to_child, from_child = processes[who]
        to_child.write(json.dumps([step, arguments]) + "\n")
        to_child.flush()
        results = json.loads(from_child.readline())
        history.append((who, step, arguments, results[1]))
        if results[0] != results[1]:
            differ(f"mounted {results[0]}, local {results[1]}")
        if number % 100 == 99 or number == steps - 1:
            here, there = tree(roots[0]), tree(roots[1])
            if here != there:
                unlike = {path: (here.get(path), there.get(path)) for path in here.keys() | there.keys() if here.get(path) != there.get(path)}
                differ(f"trees (mounted, local): {unlike}")


main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
