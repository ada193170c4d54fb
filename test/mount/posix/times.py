"""atime, mtime and ctime: what moves them, and what values they take."""

import mmap
import os
import stat

from support import *


def check_making_a_name_moves_the_times_of_its_directory():
    os.mkdir("d")
    make("d/old")
    for make_one in (
        lambda: os.close(os.open("d/1", os.O_CREAT | os.O_WRONLY)),
        lambda: os.mkdir("d/2"),
        lambda: os.symlink("x", "d/3"),
        lambda: os.mkfifo("d/4"),
        lambda: mknod("d/5", stat.S_IFREG | 0o600),
        lambda: os.link("d/old", "d/6"),
        lambda: os.unlink("d/1"),
        lambda: os.rmdir("d/2"),
        lambda: os.rename("d/3", "d/4"),
        lambda: os.rename("d/5", "d/7"),
    ):
        expect(changed(make_one, "d"), ["mc"])


def check_failures_move_nothing():
    os.mkdir("d")
    make("d/f")
    for fail in (
        lambda: os.mkdir("d/f"), lambda: os.link("d/f", "d/f"), lambda: os.symlink("x", "d/f"), lambda: os.rmdir("d/f"),
        lambda: os.unlink("d/missing"), lambda: os.rename("d/missing", "d/x"), lambda: os.mkfifo("d/f"),
    ):
        expect(changed(lambda: outcome(fail), "d", "d/f"), ["", ""])


def check_link_unlink_and_rename_move_the_ctime_of_the_file():
    make("f")
    expect(changed(lambda: os.link("f", "g"), "f"), ["c"])
    expect(changed(lambda: os.unlink("g"), "f"), ["c"])
    make("old")
    before = times("old")
    tick()
    os.rename("old", "new")
    after = times("new")
    expect((after["m"], after["c"] > before["c"]), (before["m"], True))
    os.mkdir("a")
    os.mkdir("b")
    make("a/f")
    expect(changed(lambda: os.rename("a/f", "b/f"), "a", "b"), ["mc", "mc"])
    make("a/g")
    expect(changed(lambda: renameat2("a/g", "b/f", RENAME_EXCHANGE), "a", "b"), ["mc", "mc"])
    fd = os.open("f", os.O_RDONLY)
    before = os.fstat(fd).st_ctime_ns
    tick()
    os.unlink("f")
    expect(os.fstat(fd).st_ctime_ns > before, True)
    os.close(fd)


def check_chmod_chown_and_attributes_move_ctime():
    make("f")
    expect(changed(lambda: os.chmod("f", 0o600), "f"), ["c"])
    expect(changed(lambda: os.chmod("f", 0o600), "f"), ["c"])
    expect(changed(lambda: os.chown("f", 5, 6), "f"), ["c"])
    expect(changed(lambda: os.chown("f", -1, 6), "f"), ["c"])
    expect(changed(lambda: os.setxattr("f", "user.a", b"x"), "f"), ["c"])
    expect(changed(lambda: os.removexattr("f", "user.a"), "f"), ["c"])
    os.symlink("f", "l")
    expect(changed(lambda: os.lchown("l", 5, 6), "l"), ["c"])


def check_writing_moves_mtime_and_ctime_at_once():
    make("f", b"12345")
    fd = os.open("f", os.O_RDWR)
    expect(changed(lambda: os.write(fd, b"x"), "f"), ["mc"])
    expect(changed(lambda: os.pwrite(fd, b"yy", 9000), "f"), ["mc"])
    before = times("f")
    os.close(fd)
    expect(times("f"), before, "close moves nothing")
    fd = os.open("f", os.O_RDWR)
    with mmap.mmap(fd, 4096) as memory:
        def store():
            memory[0:1] = b"z"
            memory.flush()
        expect(changed(store, "f"), ["mc"])
    expect(changed(lambda: os.write(fd, b""), "f"), [""])
    os.close(fd)


def check_truncation_moves_mtime_and_ctime():
    make("f", b"12345")
    expect(changed(lambda: os.truncate("f", 3), "f"), ["mc"])
    expect(changed(lambda: os.truncate("f", 30), "f"), ["mc"])
    fd = os.open("f", os.O_RDWR)
    expect(changed(lambda: os.ftruncate(fd, 30), "f"), ["mc"])
    expect(changed(lambda: os.ftruncate(fd, 3), "f"), ["mc"])
    expect(changed(lambda: os.ftruncate(fd, 0), "f"), ["mc"])
    os.close(fd)
    expect(changed(lambda: os.close(os.open("f", os.O_WRONLY | os.O_TRUNC)), "f"), ["mc"])
    expect(changed(lambda: os.close(os.open("f", os.O_WRONLY | os.O_CREAT)), "f"), [""])
    make("empty")
    expect(changed(lambda: os.close(os.open("empty", os.O_WRONLY | os.O_TRUNC)), "empty"), ["mc"])


def check_fallocate_moves_mtime_and_ctime():
    make("f", b"12345" * 2000)
    fd = os.open("f", os.O_RDWR)
    for mode, offset, length in (
        (0, 0, 20_000), (0, 0, 100), (KEEP_SIZE, 0, 100), (KEEP_SIZE, 50_000, 100),
        (PUNCH_HOLE | KEEP_SIZE, 0, 5000), (PUNCH_HOLE | KEEP_SIZE, 50_000, 100), (ZERO_RANGE, 0, 5000),
    ):
        expect(changed(lambda: fallocate(fd, mode, offset, length), "f"), ["mc"], f"{mode} {offset}")
    os.close(fd)


def check_any_time_from_1901_to_2446_keeps_its_nanoseconds():
    make("f")
    os.mkdir("d")
    os.symlink("f", "l")
    for seconds in (-(2**31) + 1, -1, 0, 1, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 15032385534):
        for nanoseconds in (0, 1, 123456789, 999999999):
            for path in ("f", "d"):
                utimensat(path, (seconds, nanoseconds), (seconds, nanoseconds))
                found = os.stat(path)
                expect((found.st_atime_ns, found.st_mtime_ns), (seconds * 10**9 + nanoseconds,) * 2, path)
    os.utime("l", ns=(12, 34), follow_symlinks=False)
    expect((os.lstat("l").st_atime_ns, os.lstat("l").st_mtime_ns), (12, 34))
    for kind in (lambda: os.mkfifo("p"), lambda: mknod("s", stat.S_IFSOCK | 0o600)):
        kind()
    for path in ("p", "s"):
        os.utime(path, ns=(10**18 + 1, 10**18 + 2))
        expect(os.stat(path).st_mtime_ns, 10**18 + 2)


def check_utime_now_and_omit():
    make("f")
    utimensat("f", (1, 2), (3, 4))
    expect((times("f")["a"], times("f")["m"]), (10**9 + 2, 3 * 10**9 + 4))
    expect(changed(lambda: utimensat("f", (0, UTIME_OMIT), (9, 9)), "f"), ["mc"])
    expect(changed(lambda: utimensat("f", (7, 7), (0, UTIME_OMIT)), "f"), ["ac"])
    expect((times("f")["a"], times("f")["m"]), (7 * 10**9 + 7, 9 * 10**9 + 9))
    expect(changed(lambda: utimensat("f", (0, UTIME_OMIT), (0, UTIME_OMIT)), "f"), [""])
    expect(changed(lambda: utimensat("f", (0, UTIME_NOW), (0, UTIME_OMIT)), "f"), ["ac"])
    expect(changed(lambda: utimensat("f", (0, UTIME_NOW), (0, UTIME_NOW)), "f"), ["amc"])
    now = __import__("time").time_ns()
    expect(abs(times("f")["m"] - now) < 5 * 10**9, True)
    fails("EINVAL", utimensat, "f", (0, 10**9), (0, 0))


def check_given_times_of_an_open_file_outlive_its_close():
    fd = os.open("f", os.O_CREAT | os.O_RDWR)
    os.write(fd, b"data")
    os.utime(fd, ns=(111, 222))
    os.close(fd)
    expect((times("f")["a"], times("f")["m"]), (111, 222))
    fd = os.open("f", os.O_RDWR)
    os.utime(fd, ns=(333, 444))
    os.write(fd, b"later")
    expect(times("f")["m"] > 444, True)
    os.close(fd)


def check_a_new_name_has_the_present_time():
    import time
    for name, kind in (("f", make), ("d", os.mkdir), ("p", os.mkfifo), ("l", lambda path: os.symlink("x", path))):
        before = time.time_ns() - 20_000_000
        kind(name)
        after = time.time_ns() + 20_000_000
        for which, value in times(name).items():
            expect(before <= value <= after, True, f"{which}time of {name}")
