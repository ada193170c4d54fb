"""Several processes change one tree at the same time, without order; afterwards everything must fit together.

    python3 crowd.py DIRECTORY SEED STEPS     changes the tree, then looks at it
    python3 crowd.py DIRECTORY                only looks

Prints the tree (each name with type, mode, links, size and a hash of its bytes) as one line of JSON. Exits 1 when a link
count is wrong, a name cannot be looked up, or an errno came that no local disk would give.
"""

import hashlib
import json
import os
import random
import stat
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from support import *

NAMES = ["a", "b", "c", "d"]
# What others may do meanwhile explains these; EIO, ESTALE and the like nobody may see.
EXPECTED = {"ok", "ENOENT", "EEXIST", "ENOTDIR", "EISDIR", "ENOTEMPTY", "EINVAL", "ELOOP", "EPERM", "EBUSY"}


def calls(rng):
    path = lambda: "/".join(rng.choice(NAMES) for _ in range(rng.choices([1, 2, 3], [2, 3, 1])[0]))
    one, other = path(), path()

    def write():
        fd = os.open(one, os.O_CREAT | os.O_RDWR | rng.choice([0, os.O_TRUNC, os.O_APPEND]), 0o644)
        try:
            os.pwrite(fd, bytes([rng.randrange(256)]) * rng.choice([1, 5000, 80_000]), rng.randrange(9000))
            if rng.random() < 0.2:
                os.ftruncate(fd, rng.randrange(9000))
            if rng.random() < 0.2:
                os.unlink(one)
            os.pread(fd, 5000, 0)
        finally:
            os.close(fd)

    def read():
        with open(one, "rb") as file:
            file.read()

    yield rng.choices(
        [write, read, lambda: os.mkdir(one), lambda: os.rmdir(one), lambda: os.unlink(one), lambda: os.rename(one, other),
         lambda: renameat2(one, other, RENAME_EXCHANGE), lambda: os.link(one, other, follow_symlinks=False),
         lambda: os.symlink(rng.choice(NAMES), one), lambda: os.listdir(one), lambda: os.stat(one),
         lambda: os.chmod(one, 0o700), lambda: os.setxattr(one, "user.a", b"x"), lambda: os.truncate(one, 77)],
        [8, 4, 6, 2, 4, 5, 2, 3, 2, 2, 2, 1, 1, 1],
    )[0]


def work(seed, steps):
    rng = random.Random(seed)
    for _ in range(steps):
        for call in calls(rng):
            said = outcome(call)
            if said not in EXPECTED:
                raise AssertionError(said)
    return "done"


def change(seed, steps):
    children = []
    for index in range(4):
        child = os.fork()
        if child == 0:
            try:
                work(seed * 10 + index, steps)
                os._exit(0)
            except BaseException as error:
                print(f"seed {seed}, process {index}: {error!r}", flush=True)
                os._exit(1)
        children.append(child)
    if any(os.waitpid(child, 0)[1] != 0 for child in children):
        sys.exit(1)


def look():
    tree, links = {}, {}
    for directory, directories, files in os.walk("."):
        real = [name for name in directories if not os.path.islink(os.path.join(directory, name))]
        expect(os.stat(directory).st_nlink, 2 + len(real), f"links of {directory}")
        expect(os.stat(os.path.join(directory, ".")).st_ino, os.stat(directory).st_ino)
        for name in directories + files:
            path = os.path.join(directory, name)
            found = os.lstat(path)
            about = [oct(found.st_mode), found.st_nlink, found.st_ino]
            if stat.S_ISREG(found.st_mode):
                links.setdefault(found.st_ino, []).append((path, found.st_nlink))
                data = contents(path)
                expect(len(data), found.st_size, f"size of {path}")
                about += [len(data), hashlib.blake2b(data, digest_size=8).hexdigest(), found.st_mtime_ns]
            elif stat.S_ISLNK(found.st_mode):
                links.setdefault(found.st_ino, []).append((path, found.st_nlink))
                about.append(os.readlink(path))
            tree[path] = about
    for names in links.values():
        for path, count in names:
            expect(count, len(names), f"links of {path}")
    print(json.dumps(tree, sort_keys=True))


os.chdir(sys.argv[1])
if len(sys.argv) > 2:
    change(int(sys.argv[2]), int(sys.argv[3]))
look()
